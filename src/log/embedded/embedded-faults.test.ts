import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { heartbeat, runStart } from '../../../test/support/stream-records.ts';
import { isInfrastructure } from '../../platform/errors.ts';
import { EmbeddedLog } from './embedded-log.ts';
import { EmbeddedWriter } from './embedded-writer.ts';
import { type StreamPaths, streamPaths } from './stream-file.ts';
import { WriterThread } from './writer-thread.ts';

const ATTEMPTS = 20;

async function temporaryDirectory(): Promise<{ path: string; paths: StreamPaths } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'syncline-log-'));
  const paths = streamPaths(path, 'eu');
  return { path, paths, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function failureOf(work: () => Promise<unknown>): Promise<unknown> {
  return await work().then(
    () => undefined,
    (error) => error,
  );
}

const openFiles = (): number => readdirSync('/dev/fd').length;

describe('the embedded log on a disk with faults', () => {
  test('a writer that cannot clean up behind itself sets its lock free all the same', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    const writer = await log.writer('eu');
    await writer.append([runStart(1)]);
    await rm(directory.paths.pid);
    await mkdir(directory.paths.pid);
    await writer[Symbol.asyncDispose]();
    await rm(directory.paths.pid, { recursive: true });
    await using next = await log.writer('eu');
    assert.equal(await next.append([runStart(2)]), 1);
  });

  test('a thread that ends amid a session is a fault that is tried again, and the stream opens again', async () => {
    await using directory = await temporaryDirectory();
    const open = { kind: 'open', directory: directory.path, bytesMax: 1_000_000_000 } as const;
    const thread = new WriterThread();
    await thread.call('eu', open);
    const session = async (): Promise<void> => {
      await using writer = new EmbeddedWriter('eu', thread, () => undefined);
      await writer.append([runStart(1)]);
      await thread.terminate();
      await writer.append([heartbeat(1, 1)]);
    };
    const error = await failureOf(session);
    assert.equal((error as { code?: string }).code, 'SYN-L002');
    assert.ok(isInfrastructure(error));
    const next = new WriterThread();
    await next.call('eu', open);
    await using writer = new EmbeddedWriter('eu', next, () => undefined);
    assert.equal(await writer.append([runStart(2)]), 1);
    await writer[Symbol.asyncDispose]();
    await next.terminate();
  });

  test('whatever fails around an append has a code', async () => {
    await using directory = await temporaryDirectory();
    const { wal, lock } = directory.paths;
    await using log = await EmbeddedLog.open(directory.path);
    await using other = await EmbeddedLog.open(directory.path);
    {
      await using writer = await log.writer('eu');
      await writer.append([runStart(1)]);
      await rename(wal, `${wal}.away`);
      await symlink(basename(wal), wal);
      await assert.rejects(writer.append([heartbeat(1, 1)]), { code: 'SYN-L002' });
      await rm(wal);
      await rename(`${wal}.away`, wal);
    }
    await using first = await log.writer('eu');
    await rm(lock);
    await using second = await other.writer('eu');
    await first.append([runStart(2)]);
    await assert.rejects(second.append([runStart(3)]), { code: 'SYN-L008', context: { pid: String(process.pid) } });
    assert.ok(existsSync(lock));
  });

  test('opening in vain, again and again, leaves no file open', async () => {
    await using directory = await temporaryDirectory();
    const { database, wake } = directory.paths;
    await using log = await EmbeddedLog.open(directory.path);
    {
      await using writer = await log.writer('eu');
      await writer.append([runStart(1)]);
    }
    const before = openFiles();
    await rm(wake);
    await mkdir(wake);
    for (let at = 0; at < ATTEMPTS; at += 1) await assert.rejects(log.writer('eu'), { code: 'SYN-L002' });
    assert.ok(openFiles() < before + ATTEMPTS, 'of writers');
    const emptied = new DatabaseSync(database);
    emptied.exec('DROP TABLE record');
    emptied.close();
    for (let at = 0; at < ATTEMPTS; at += 1) {
      const reader = await log.reader('eu');
      await assert.rejects(reader.bounds());
      await reader[Symbol.asyncDispose]();
    }
    assert.ok(openFiles() < before + ATTEMPTS, 'of readers');
  });
});
