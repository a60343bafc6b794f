import assert from 'node:assert/strict';
import { test } from 'node:test';
import { change, EPOCH, LONG_GIANT_ROWS, longGiant, runStart } from '../../test/support/stream-records.ts';
import { BaselineTally } from '../change/baseline.ts';
import { parseChange } from '../change/stream-record.ts';
import { Snapshot } from '../clock/snapshot.ts';
import { MemoryLog } from '../log/memory-log.ts';
import { takeBack } from './baseline.ts';

test('what the stream holds is taken back to its end, also behind a giant that is read in several goes', async () => {
  const log = new MemoryLog();
  const changes = [change(1, 1), ...longGiant(1, 2), change(1, 3)];
  await (await log.writer('eu')).append([runStart(1), ...changes]);
  const tally = new BaselineTally({ schema: 'public', table: 'item', columns: ['id', 'note'], key: ['id'] });
  for (const { value } of changes) tally.toggle(parseChange(value).after_image ?? {}, 1);
  assert.equal(tally.result().rows, LONG_GIANT_ROWS + 2);
  const scan = { snapshot: Snapshot.parse('10:10:'), endLsn: 10n, tables: new Map([['public.item', tally]]) };
  assert.equal(await takeBack(await log.reader('eu'), scan, EPOCH), true);
  assert.deepEqual(tally.result(), { ...tally.result(), rows: 0, parts: {}, untold: null });
});
