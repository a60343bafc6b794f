import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ONE_TABLE } from '../../test/support/one-table.ts';
import type { ChangeEvent } from '../change/change-event.ts';
import { hlcFromMicros, hlcToText } from '../change/hlc.ts';
import { makePosition } from '../change/position.ts';
import type { BatchWriter } from './batch-writer.ts';
import { EchoWriter } from './echo-writer.ts';
import { planBatch, type SourceTransaction } from './net-change.ts';
import type { Placing } from './row-placer.ts';

const KEY = '["1"]';

/** The keys of rows that the echo of a pushed write leaves to be put back, where writing them ends so. */
async function putBack(placing: Placing): Promise<string[]> {
  const hlc = hlcFromMicros(2_000_000_000_000_000n) + 1n;
  const event: ChangeEvent = {
    event_id: 'write',
    region_id: 'eu',
    schema_name: 'public',
    table_name: 't',
    row_pk: { id: '1' },
    operation: 'UPDATE',
    before_image: { id: '1', v: 'before' },
    after_image: { id: '1', v: 'after' },
    committed_at: '2026-01-01T00:00:00.000000Z',
    hlc_timestamp: hlcToText(hlc),
    region_tags: ['eu'],
    transaction: { id: 1, epoch: '', commit_lsn: '', index: 0, last: true, predecessor: null, seen: {} },
  };
  const position = makePosition('0000000000000000001', 7n);
  const source: SourceTransaction = {
    position,
    hlc,
    seen: {},
    xid: 1,
    committed_at: event.committed_at,
    events: [event],
  };
  const steps = planBatch(
    [source],
    () => ONE_TABLE,
    (_, pk) => JSON.stringify(Object.values(pk)),
    false,
  );
  const applied = {
    xid: 9,
    stampMicros: 1n,
    writer: 'us',
    local: false,
    foreign: false,
    own: false,
    image: { id: '1' },
  };
  const current = { tuple: applied, version: { hlc: 1n, origin: 'us' } };
  const left: string[] = [];
  const writer = {
    merging: { isTracked: () => false },
    judge: { events: () => undefined, row: () => undefined },
    parking: { isParked: () => false, displaced: () => undefined },
    stand: async () => new Map([[KEY, { current, exact: undefined, tombstone: undefined, parked: undefined }]]),
    rows: { place: async () => placing },
    kept: { putBack: (_: unknown, { key }: { key: string }) => void left.push(key) },
  } as unknown as BatchWriter;
  const echo = new EchoWriter(writer, 'eu', 0n);
  await echo.write(steps);
  await echo.finish();
  return left;
}

test('a write whose echo waits for that of another row is looked at again, and no other is', async () => {
  assert.deepEqual(await putBack('untold'), [KEY]);
  assert.deepEqual(await putBack('placed'), []);
  assert.deepEqual(await putBack('parked'), []);
});
