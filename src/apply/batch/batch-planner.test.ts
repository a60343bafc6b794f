/** What is left of a transaction of which events cannot be applied, and what is set aside of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import type { ChangeEvent, Image } from '../../change/change-event.ts';
import { makePosition } from '../../change/position.ts';
import type { ApplyPort, ApplyTransaction } from '../apply-port.ts';
import type { Step } from '../net-change.ts';
import type { Poison } from '../quarantine-entry.ts';
import { BatchPlanner } from './batch-planner.ts';

const POSITION = makePosition('0000000000000000001', 7n);
const NO_TRANSACTION = {} as ApplyTransaction;

type Made = Pick<ChangeEvent, 'operation'> & { readonly from?: Image; readonly to?: Image };

const update = (from: Image, to: Image): Made => ({ operation: 'UPDATE', from, to });
const row = (id: number, v: string): Image => ({ id: `${id}`, v });

/** Plans a transaction of these changes, of which those at these places fail; `whole` fail even so. */
async function plan(
  changes: readonly Made[],
  failing: readonly number[],
  whole: readonly number[] = [],
  merges = false,
) {
  const port = { shape: async () => ONE_TABLE } as unknown as ApplyPort;
  const planner = new BatchPlanner(port, { onError: 'quarantine', isReplicated: () => true, isMerging: () => merges });
  const events = changes.map(({ operation, from, to }, index) =>
    madeEvent('eu', 700n, {
      event_id: `e${index}`,
      operation,
      row_pk: { id: (to ?? from)?.id ?? '' },
      before_image: from ?? null,
      after_image: to ?? null,
      transaction: { id: 1, epoch: '', commit_lsn: '0/7', index, last: false, predecessor: null, seen: {} },
    }),
  );
  const poison = (place: number): Poison => ({ sqlstate: '23514', error: 'refused', isWhole: whole.includes(place) });
  const poisoned = new Map(failing.map((place) => [`e${place}`, poison(place)]));
  const source = {
    position: POSITION,
    hlc: 700n,
    seen: {},
    xid: 1,
    committed_at: '2026-01-01T00:00:00.000000Z',
    events,
  };
  const planned = await planner.plan(NO_TRANSACTION, [source], poisoned, true);
  return {
    steps: planned.steps.map(tell),
    setAside: planned.quarantine.map(({ event_id, key }) => `${event_id} ${key}`),
  };
}

function tell(step: Step): string {
  if (step.kind === 'truncate') return 'truncate';
  const ops = [...step.tables.values()].flatMap(({ ops: ofTable }) => [...ofTable.values()]);
  return ops.map(({ kind, key, image }) => `${kind} ${key} ${image?.v ?? ''}`.trim()).join(', ');
}

describe('what cannot be applied', () => {
  test('is set aside, and all else is applied', async () => {
    const changes = [update(row(1, 'a'), row(1, 'b')), update(row(2, 'a'), row(2, 'b'))];
    assert.deepEqual(await plan(changes, [0]), { steps: ['upsert ["2"] b'], setAside: ['e0 ["1"]'] });
  });

  test('leaves its old key where it changes the key, and is set aside under the new one', async () => {
    const changes = [update(row(1, 'a'), row(2, 'b'))];
    assert.deepEqual(await plan(changes, [0]), { steps: ['remove ["1"]'], setAside: ['e0 ["2"]'] });
  });

  test('is set aside whole, with all rows of the table, where not even the old key can be left', async () => {
    const changes = [update(row(1, 'a'), row(2, 'b')), update(row(2, 'b'), row(2, 'c'))];
    assert.deepEqual(await plan(changes, [0], [0]), { steps: ['upsert ["2"] c'], setAside: ['e0 '] });
  });

  test('is void where a later change of its transaction wrote, moved or removed the row', async () => {
    const bad = update(row(1, 'a'), row(1, 'bad'));
    for (const later of [
      update(row(1, 'bad'), row(1, 'c')),
      update(row(1, 'bad'), row(2, 'c')),
      { operation: 'DELETE', from: row(1, 'bad') } as const,
      { operation: 'TRUNCATE' } as const,
    ]) {
      assert.deepEqual((await plan([bad, later], [0])).setAside, [], JSON.stringify(later));
      assert.deepEqual((await plan([later, bad], [1])).setAside, ['e1 ["1"]'], JSON.stringify(later));
    }
  });

  test('is not void where the later image lacks a column of it, or where each event counts', async () => {
    const bad = update(row(1, 'a'), row(1, 'bad'));
    assert.deepEqual((await plan([bad, update({ id: '1' }, { id: '1' })], [0])).setAside, ['e0 ["1"]']);
    const later = update(row(1, 'bad'), row(1, 'c'));
    assert.deepEqual((await plan([bad, later], [0], [], true)).setAside, ['e0 ["1"]']);
  });
});
