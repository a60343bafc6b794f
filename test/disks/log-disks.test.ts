/** An embedded log whose own disk is full, or has been: whatever was begun then does no harm later. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { EmbeddedLog } from '../../src/log/embedded/embedded-log.ts';
import type { StreamWriter } from '../../src/log/event-log.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { runStart, transaction } from '../support/stream-records.ts';

/** What a stream takes that has a record, and more. */
const KIB_MAX = 256;
const KIB_STEP = 4;
const ROOM_MB = 16;
/** Less than a stream may take, and room for what is kept in reserve. */
const DISK_MB = 128;
const ALL = { records_max: 1_000_000, bytes_max: 1_000_000_000 };

describe('the embedded log on a disk that is full', () => {
  test('a stream that found too little room to begin, wherever that ended, begins once there is some', async () => {
    await using disk = await SmallDisk.mount(ROOM_MB);
    const path = join(disk.path, 'log');
    const begin = async (): Promise<void> => {
      await using log = await EmbeddedLog.open(path);
      await using writer = await log.writer('eu');
      await writer.append([runStart(1)]);
    };
    let failures = 0;
    for (let kib = KIB_STEP; kib <= KIB_MAX; kib += KIB_STEP) {
      await disk.resize(kib / 1024);
      const error = await begin().then(
        () => null,
        (failure) => failure,
      );
      if (error !== null) failures += 1;
      assert.ok(error === null || error.code === 'SYN-L002', `${kib} KiB: ${error}`);
      await disk.resize(ROOM_MB);
      await begin().catch((failure) => assert.fail(`after ${kib} KiB: ${failure}`));
      await using log = await EmbeddedLog.open(path);
      await using reader = await log.reader('eu');
      assert.equal((await reader.read(0, ALL)).length, error === null ? 2 : 1, `after ${kib} KiB`);
      await rm(path, { recursive: true });
    }
    assert.ok(failures > 4 && failures < KIB_MAX / KIB_STEP, `${failures} failures`);
  });

  test('a stream that filled its disk is trimmed there, and goes on', async () => {
    await using disk = await SmallDisk.mount(DISK_MB);
    await using log = await EmbeddedLog.open(join(disk.path, 'log'));
    const append = async (writer: StreamWriter, lsn: number): Promise<number> =>
      await writer.append(transaction(1, lsn, 50, { note: 'x'.repeat(1_000) }));
    let lsn = 0;
    for (let round = 0; round < 3; round += 1) {
      let last = 0;
      {
        await using writer = await log.writer('eu');
        const fill = async (): Promise<never> => {
          for (;;) {
            last = await append(writer, lsn + 1);
            lsn += 1;
          }
        };
        await assert.rejects(fill(), { code: 'SYN-L002' });
      }
      await disk.fill();
      await using writer = await log.writer('eu');
      await writer.trim(last);
      for (let more = 0; more < 100; more += 1) {
        lsn += 1;
        await append(writer, lsn);
      }
      await disk.clear();
    }
    await using reader = await log.reader('eu');
    const bounds = await reader.bounds();
    assert.equal(bounds?.last, lsn * 50 - 1);
  });
});
