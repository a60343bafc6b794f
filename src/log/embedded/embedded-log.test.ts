import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { eventLogContract } from '../../../test/support/event-log-contract.ts';
import { change, heartbeat, runStart, transaction } from '../../../test/support/stream-records.ts';
import { waitFor } from '../../../test/support/wait-for.ts';
import type { StoredRecord, StreamReader } from '../event-log.ts';
import { EmbeddedLog } from './embedded-log.ts';
import { fileNameOf, nameOfFile, storeError, streamPaths } from './stream-file.ts';
import { WakeFile } from './wake-file.ts';

const ALL = { records_max: 1_000_000, bytes_max: 1_000_000_000 };

async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'syncline-log-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const readAll = (reader: StreamReader): Promise<StoredRecord[]> => reader.read(0, ALL);

eventLogContract('the embedded log', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'syncline-log-'));
  const log = await EmbeddedLog.open(join(directory, 'log'));
  const close = log[Symbol.asyncDispose].bind(log);
  log[Symbol.asyncDispose] = async () => {
    await close();
    await rm(directory, { recursive: true, force: true });
  };
  return log;
});

describe('the embedded log on disk', () => {
  test('a log that was closed goes on where it ended', async () => {
    await using directory = await temporaryDirectory();
    for (const lsn of [1, 2, 3]) {
      await using log = await EmbeddedLog.open(directory.path);
      await using writer = await log.writer('eu');
      assert.equal(await writer.append(transaction(1, lsn, 2)), lsn * 2 - 1);
      await log.acknowledge('eu', 'us', lsn);
    }
    await using log = await EmbeddedLog.open(directory.path);
    await using reader = await log.reader('eu');
    assert.equal((await readAll(reader)).length, 6);
    assert.deepEqual(await log.acknowledged('eu'), new Map([['us', 3]]));
  });

  test('a second writer of a stream is refused while the first one is open, and names its process', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using other = await EmbeddedLog.open(directory.path);
    const writer = await log.writer('eu');
    for (const second of [log, other]) {
      await assert.rejects(second.writer('eu'), { code: 'SYN-L008', context: { pid: String(process.pid) } });
    }
    await other.writer('us');
    await writer.append([runStart(1)]);
    await writer[Symbol.asyncDispose]();
    await using next = await other.writer('eu');
    assert.equal(await next.append([runStart(2)]), 1);
  });

  test('a full stream refuses appends unwritten, and takes them again once it is trimmed', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path, { max_bytes: 2_000_000 });
    await using reader = await log.reader('eu');
    const batch = transaction(1, 1, 100, { note: 'x'.repeat(1_000) });
    let appended = 0;
    {
      await using writer = await log.writer('eu');
      await assert.rejects(
        async () => {
          for (; appended < 1_000; appended += 1) await writer.append(batch);
        },
        { code: 'SYN-L007' },
      );
      await assert.rejects(writer.append(batch), { code: 'SYN-L007' });
    }
    assert.ok(appended > 8 && appended < 20, `${appended} appends`);
    assert.equal((await readAll(reader)).length, appended * 100);
    assert.ok((await reader.sizeBytes()) <= 2_000_000);
    await using writer = await log.writer('eu');
    await writer.trim(500);
    assert.equal(await writer.append(batch), appended * 100 + 99);
  });

  test('trimming gives space back to the file system', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using writer = await log.writer('eu');
    await using reader = await log.reader('eu');
    const batch = transaction(1, 1, 1_000, { note: 'x'.repeat(1_000) });
    for (let at = 0; at < 24; at += 1) await writer.append(batch);
    const full = await reader.sizeBytes();
    assert.ok(full > 24_000_000);
    await writer.trim(23_500);
    const { size } = await stat(streamPaths(directory.path, 'eu').database);
    assert.ok(size < full / 2, `${full} bytes before, ${size} after`);
    assert.equal((await readAll(reader)).length, 500);
  });

  test('what is no database, or one of another program, of another format or damaged, is refused', async () => {
    await using directory = await temporaryDirectory();
    const { folder, database } = streamPaths(directory.path, 'eu');
    {
      await using log = await EmbeddedLog.open(directory.path);
      await using writer = await log.writer('eu');
      await writer.append(transaction(1, 1, 2_000, { note: 'x'.repeat(500) }));
    }
    const expectRefusal = async (code: string): Promise<void> => {
      await using log = await EmbeddedLog.open(directory.path);
      await using reader = await log.reader('eu');
      await assert.rejects(readAll(reader), { code });
      await assert.rejects(log.writer('eu'), { code });
    };
    const intact = join(folder, 'intact');
    await rename(database, intact);

    await writeFile(database, '');
    await expectRefusal('SYN-L009');
    await writeFile(database, 'no database\n'.repeat(1_000));
    await expectRefusal('SYN-L009');
    await rm(database);

    const foreign = new DatabaseSync(database);
    foreign.exec('CREATE TABLE record (value TEXT)');
    foreign.close();
    await expectRefusal('SYN-L009');
    await rm(database);

    await rename(intact, database);
    const newer = new DatabaseSync(database);
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    await expectRefusal('SYN-L010');
    const older = new DatabaseSync(database);
    older.exec('PRAGMA user_version = 1');
    older.close();

    const { size } = await stat(database);
    const file = await open(database, 'r+');
    for (let at = 2 * 8_192; at < size; at += 8_192) await file.write('garbage'.repeat(100), at);
    await file.close();
    await expectRefusal('SYN-L009');
    await truncate(database, 8_192);
    await expectRefusal('SYN-L009');
  });

  test('a database that is removed while in use is noticed by its writer and its readers', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using writer = await log.writer('eu');
    await writer.append([runStart(1)]);
    await using reader = await log.reader('eu');
    assert.equal(await reader.waitFor(0, 0), true);
    await rm(streamPaths(directory.path, 'eu').database);
    await assert.rejects(writer.append([heartbeat(1, 1)]), { code: 'SYN-L002' });
    await assert.rejects(reader.waitFor(5, 30_000), { code: 'SYN-L002' });
  });

  test('a reader that comes again and again, and never waits, is given every record, and notices a database that is removed', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using reader = await log.reader('eu');
    const offsets: number[] = [];
    const readOn = async (): Promise<number> => {
      const records = await reader.read((offsets.at(-1) ?? -1) + 1, { ...ALL, brought_only: true });
      offsets.push(...records.map(({ offset }) => offset));
      return offsets.length;
    };
    assert.equal(await readOn(), 0);
    const writer = await log.writer('eu');
    for (let lsn = 1; lsn <= 20; lsn += 1) {
      await writer.append(transaction(1, lsn, 2));
      await waitFor(async () => (await readOn()) === 2 * lsn, { what: 'what was appended', limitMs: 10_000 });
    }
    assert.deepEqual(offsets, [...offsets.keys()]);
    const { database } = streamPaths(directory.path, 'eu');
    await rename(database, `${database}.old`);
    const failure = async (): Promise<unknown> =>
      await readOn().then(
        () => undefined,
        (error) => error,
      );
    const error = await waitFor(failure, { what: 'the error', limitMs: 10_000 });
    assert.equal((error as { code?: string }).code, 'SYN-L002');
  });

  test('the WAL of a database that is gone is not replayed into a new one', async () => {
    await using directory = await temporaryDirectory();
    const paths = streamPaths(directory.path, 'eu');
    await using log = await EmbeddedLog.open(directory.path);
    {
      await using keeper = await log.reader('eu');
      await using writer = await log.writer('eu');
      await writer.append(transaction(1, 1, 10));
      assert.equal((await readAll(keeper)).length, 10);
      await rm(paths.database);
      assert.ok(existsSync(paths.wal));
    }
    await using writer = await log.writer('eu');
    assert.equal(await writer.append([runStart(2)]), 0);
  });

  test('what was acknowledged of a database that is gone says nothing of the one made anew', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    {
      await using writer = await log.writer('eu');
      await writer.append(transaction(1, 1, 10));
      for (const consumer of ['eu', 'us']) await log.acknowledge('eu', consumer, 8);
    }
    {
      await using _ = await log.writer('eu');
      assert.equal((await log.acknowledged('eu')).size, 2);
    }
    await rm(streamPaths(directory.path, 'eu').database);
    await using writer = await log.writer('eu');
    assert.deepEqual(await log.acknowledged('eu'), new Map());
    const last = await writer.append([runStart(2)]);
    await log.acknowledge('eu', 'us', last);
    assert.deepEqual(await log.acknowledged('eu'), new Map([['us', last]]));
  });

  test('a directory that cannot be made or written is a typed error', async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, 'file');
    await writeFile(file, '');
    await assert.rejects(EmbeddedLog.open(file), { code: 'SYN-L002' });
    await assert.rejects(EmbeddedLog.open(join(file, 'log')), { code: 'SYN-L002' });
    await using log = await EmbeddedLog.open(directory.path);
    await writeFile(join(directory.path, fileNameOf('eu')), '');
    await assert.rejects(log.writer('eu'), { code: 'SYN-L002' });
    await assert.rejects(log.acknowledge('eu', 'us', 1), { code: 'SYN-L002' });
  });

  test("a full disk and a read-only file are the world's faults, and other errors stay what they are", async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'full.sqlite');
    using database = new DatabaseSync(path);
    database.exec('CREATE TABLE filler (value BLOB); PRAGMA max_page_count = 4');
    const attempt = (sql: string): unknown => {
      try {
        database.exec(sql);
        return undefined;
      } catch (error) {
        return storeError(error, path);
      }
    };
    const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);
    assert.equal(codeOf(attempt('INSERT INTO filler VALUES (randomblob(100000))')), 'SYN-L002');
    assert.equal(codeOf(attempt('SELECT * FROM absent')), 'ERR_SQLITE_ERROR');
    database.exec('PRAGMA query_only = 1');
    assert.equal(codeOf(attempt('DELETE FROM filler')), 'SYN-L002');
  });

  test('after a failed append everything that was called behind it fails too', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path, { max_bytes: 1_000_000 });
    await using writer = await log.writer('eu');
    await using reader = await log.reader('eu');
    const large = change(1, 2, 0, 0, { note: 'x'.repeat(5_000_000) });
    const results = await Promise.allSettled([
      writer.append([runStart(1)]),
      writer.append([large]),
      writer.append([heartbeat(1, 3)]),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'rejected'],
    );
    await assert.rejects(writer.append([heartbeat(1, 4)]), { code: 'SYN-L007' });
    assert.equal((await readAll(reader)).length, 1);
  });

  test('each append gives a hint to whoever watches', async () => {
    await using directory = await temporaryDirectory();
    await using log = await EmbeddedLog.open(directory.path);
    await using writer = await log.writer('eu');
    const wake = new WakeFile(streamPaths(directory.path, 'eu').wake);
    for (const lsn of [1, 2, 3]) {
      const { hints } = wake;
      await writer.append([heartbeat(1, lsn)]);
      await waitFor(() => wake.hints > hints, { what: `the hint of append ${lsn}` });
    }
    wake.close();
  });

  test('closing a log ends what waits for it', async () => {
    await using directory = await temporaryDirectory();
    const log = await EmbeddedLog.open(directory.path);
    const reader = await log.reader('eu');
    const waiting = reader.waitFor(0, 30_000);
    await log[Symbol.asyncDispose]();
    assert.equal(await waiting, false);
    await assert.rejects(readAll(reader), { code: 'SYN-L002' });
  });

  test('a reader that was closed is forgotten by its log', async () => {
    await using directory = await temporaryDirectory();
    const log = await EmbeddedLog.open(directory.path);
    const reader = await log.reader('eu');
    await reader[Symbol.asyncDispose]();
    let closedAgain = false;
    reader[Symbol.asyncDispose] = async () => {
      closedAgain = true;
    };
    await log[Symbol.asyncDispose]();
    assert.equal(closedAgain, false);
  });

  test('names become file names that are kept apart without case, and back', () => {
    const names = ['eu', 'EU', 'eu-west_1', 'eu.west', '..', '/', 'ü', '%65u', ''];
    const files = names.map(fileNameOf);
    assert.deepEqual(files.slice(0, 3), ['eu', '%45%55', 'eu-west_1']);
    assert.equal(new Set(files.map((file) => file.toLowerCase())).size, names.length);
    assert.deepEqual(files.map(nameOfFile), names);
    for (const file of files) assert.match(file, /^[a-z0-9_%-]*$/);
  });
});
