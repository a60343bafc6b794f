import assert from 'node:assert/strict';
import { test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import { makePosition } from '../../change/position.ts';
import { Stability } from '../../clock/stability.ts';
import type { ApplyPort } from '../apply-port.ts';
import type { BatchPlanner } from '../batch/batch-planner.ts';
import type { LaneMarks } from '../lane-marks.ts';
import { planBatch, type SourceTransaction } from '../net-change.ts';
import { PassedMemory } from './passed-memory.ts';

const at = (lsn: number, epoch = '0000000000000000001') => makePosition(epoch, BigInt(lsn));

test('removals are looked at before they are forgotten, also where a region has begun a new epoch meanwhile', async () => {
  const told: string[] = [];
  const port = {
    conflictHorizon: async () => null,
    begin: async () => ({ rollback: async () => undefined }),
    settleConflicts: async () => void told.push('forgotten'),
  } as unknown as ApplyPort;
  const stability = new Stability('eu', ['us']);
  const plan = (sources: readonly SourceTransaction[]) =>
    planBatch(
      sources,
      () => ONE_TABLE,
      (_, pk) => JSON.stringify(Object.values(pk)),
      false,
    );
  const memory = new PassedMemory({
    port,
    stability,
    marks: { isLost: () => false, of: () => undefined } as unknown as LaneMarks,
    planner: { replan: async (_: unknown, sources: SourceTransaction[]) => plan(sources) } as unknown as BatchPlanner,
    eventAt: async () => null,
    orphans: {
      referenced: async () => new Map([[ONE_TABLE.id, new Set(['id'])]]),
      look: async (removed) => void told.push(...removed.map(({ event_id }) => event_id)),
      giveUp: () => assert.fail('nothing is given up'),
    },
    merged: async () => new Map(),
  });
  await memory.clear();
  await memory.open();
  const removed = { operation: 'DELETE', before_image: { id: '1', v: 'x' }, after_image: null } as const;
  const event = madeEvent('us', 5n, { event_id: 'removal', ...removed });
  const source: SourceTransaction = {
    position: at(5),
    hlc: 5n,
    seen: {},
    xid: 1,
    committed_at: event.committed_at,
    events: [event],
  };
  const { position, committed_at } = source;
  const log_offset = 1;
  await memory.remember('us', [
    { kind: 'transaction', position, predecessor: null, event_id: 'removal', log_offset, source },
  ]);
  for (const origin of ['eu', 'us']) {
    const heartbeat = { position: at(9), hlc: 9n, floor: 8n, committed_at };
    memory.learn(origin, [{ kind: 'heartbeat', position: at(9), heartbeat } as never]);
  }
  // What us stated counts no more for what is yet to come; what was stable by then is settled all the same.
  stability.enters('us', at(1, '0000000000000000002'));
  assert.equal(stability.watermark(), 0n);
  await memory.settle();
  assert.deepEqual(told, ['removal', 'forgotten']);
});
