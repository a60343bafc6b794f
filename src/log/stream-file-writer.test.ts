import assert from 'node:assert/strict';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { EmbeddedLog } from './embedded-log.ts';
import { streamPaths } from './stream-file.ts';
import { StreamFileWriter } from './stream-file-writer.ts';

async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'syncline-log-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** The paths that are flushed from now on, in order. */
function watchSyncs(t: TestContext): string[] {
  const { openSync, fsyncSync } = fs;
  const synced: string[] = [];
  const pathOf = new Map<number, string>();
  t.mock.method(fs, 'openSync', (...args: Parameters<typeof openSync>) => {
    const fd = openSync(...args);
    pathOf.set(fd, String(args[0]));
    return fd;
  });
  t.mock.method(fs, 'fsyncSync', (fd: number) => {
    fsyncSync(fd);
    synced.push(pathOf.get(fd) ?? '');
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  return synced;
}

describe('the file of a stream', () => {
  test('is where a power cut leaves it: every folder on the way was flushed', async (t) => {
    await using directory = await temporaryDirectory();
    const above = join(directory.path, 'data');
    const path = join(above, 'log');
    const synced = watchSyncs(t);
    await using log = await EmbeddedLog.open(path);
    assert.deepEqual(new Set(synced), new Set([directory.path, above]));
    // The first to make the folder of a stream may be one that has read it.
    await log.acknowledge('eu', 'us', -1);
    synced.length = 0;
    const paths = streamPaths(path, 'eu');
    const writer = new StreamFileWriter(paths, 1_000_000);
    assert.deepEqual(new Set(synced), new Set([paths.acks, paths.folder, path]));
    writer.close();
  });
});
