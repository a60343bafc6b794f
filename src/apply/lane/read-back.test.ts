import assert from 'node:assert/strict';
import { test } from 'node:test';
import { change, heartbeat, longGiant, positionOf, runStart } from '../../../test/support/stream-records.ts';
import { MemoryLog } from '../../log/memory-log.ts';
import { readBack } from './read-back.ts';

test('reads back to the mark, also behind a giant that is read in several goes', async () => {
  const log = new MemoryLog();
  const writer = await log.writer('eu');
  await writer.append([runStart(1), heartbeat(1, 1), ...longGiant(1, 2), change(1, 3)]);
  const log_offset = (await writer.append([heartbeat(1, 4)])) + 1;
  await writer.append([heartbeat(1, 5)]);
  const mark = { origin: 'eu', position: positionOf(4), event_id: 'heartbeat 4', log_offset };
  const positions: string[] = [];
  for await (const part of readBack(await log.reader('eu'), mark, 0, () => assert.fail())) {
    positions.push(...part.map(({ position }) => position));
  }
  assert.deepEqual(positions, [1, 2, 3, 4].map(positionOf));
});

test('goes on with what the log still holds where it is trimmed meanwhile, and tells so before', async () => {
  const log = new MemoryLog();
  const writer = await log.writer('eu');
  let log_offset = 0;
  for (let lsn = 1; lsn <= 9_000; lsn += 1) log_offset = (await writer.append([change(1, lsn)])) + 1;
  const mark = { origin: 'eu', position: positionOf(9_000), event_id: 'event 9000.0', log_offset };
  const told: (number | 'lacks')[] = [];
  for await (const part of readBack(await log.reader('eu'), mark, 0, () => told.push('lacks'))) {
    if (told.length === 0) await writer.trim(8_000);
    told.push(part[0]?.log_offset ?? 0, part.at(-1)?.log_offset ?? 0);
  }
  assert.deepEqual(told, [1, 2_000, 'lacks', 8_001, 9_000]);
});
