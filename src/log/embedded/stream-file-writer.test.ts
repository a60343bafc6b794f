import assert from 'node:assert/strict';
import fs from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { heartbeat, runStart, transaction } from '../../../test/support/stream-records.ts';
import { EmbeddedLog } from './embedded-log.ts';
import { sizeOf, streamPaths } from './stream-file.ts';
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

  test('gives a reader nothing before the WAL that it found is flushed', async (t) => {
    await using directory = await temporaryDirectory();
    const paths = streamPaths(directory.path, 'eu');
    await using log = await EmbeddedLog.open(directory.path);
    await using writer = await log.writer('eu');
    await writer.append([runStart(1)]);
    await using reader = await log.reader('eu');
    const synced = watchSyncs(t);
    assert.deepEqual(await reader.bounds(), { first: 0, last: 0 });
    assert.deepEqual(synced, [paths.wal]);
    await writer.append([heartbeat(1, 1)]);
    assert.deepEqual(await reader.bounds(), { first: 0, last: 1 });
    assert.deepEqual(synced, [paths.wal], 'what is committed later is flushed by its writer');
  });

  test('has nothing in its WAL where a writer begins: what others may have left there unflushed has been', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(join(directory.path, 'log'));
    await using writer = await log.writer('eu');
    await writer.append([runStart(1), ...transaction(1, 1, 10)]);
    // As a machine's processes leave it that all end at once.
    const copy = join(directory.path, 'copy');
    await cp(join(directory.path, 'log'), copy, { recursive: true });
    const { wal } = streamPaths(copy, 'eu');
    assert.ok(sizeOf(wal) > 0);
    await using copied = await EmbeddedLog.open(copy);
    await using _ = await copied.writer('eu');
    assert.equal(sizeOf(wal), 0);
    await using reader = await copied.reader('eu');
    assert.deepEqual(await reader.bounds(), { first: 0, last: 10 });
  });
});
