import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import type { ChangeEvent, Image } from '../../change/change-event.ts';
import { makePosition } from '../../change/position.ts';
import type { TableShape } from '../apply-port.ts';
import { planBatch, type SourceTransaction } from '../net-change.ts';
import { RemovedParents } from './removed-parents.ts';

const SHAPE: TableShape = { ...ONE_TABLE, columns: ['id', 'code', 'v'] };

type Change = Pick<ChangeEvent, 'operation' | 'before_image' | 'after_image'>;

function parents(columns: readonly string[], max?: number): RemovedParents {
  const removed = new RemovedParents(max);
  removed.refer(new Map(columns.length === 0 ? [] : [[SHAPE.id, new Set(columns)]]));
  return removed;
}

function take(removed: RemovedParents, hlc: bigint, ...changes: readonly Change[]): number {
  const position = makePosition('0000000000000000001', hlc);
  const events = changes.map(
    (change, index): ChangeEvent =>
      madeEvent('a', hlc, {
        ...change,
        event_id: `e${hlc}.${index}`,
        row_pk: { id: (change.after_image ?? change.before_image)?.id ?? null },
        transaction: { id: 1, epoch: '', commit_lsn: '', index, last: true, predecessor: null, seen: {} },
      }),
  );
  const source: SourceTransaction = { position, hlc, seen: {}, xid: 1, committed_at: '', events };
  const steps = planBatch(
    [source],
    () => SHAPE,
    (_, pk) => JSON.stringify(Object.values(pk)),
    false,
  );
  return removed.add(removed.among(steps));
}

function valuesOf(removed: RemovedParents, stable: bigint): (Image | null)[] {
  return removed.upTo(stable).map(({ values }) => values);
}

const row = (id: string, code: string): Image => ({ id, code, v: 'x' });

describe('removed parents', () => {
  test('are rows that went, were moved, or lost the value that is referred to; others are not kept', () => {
    const removed = parents(['id', 'code']);
    take(removed, 1n, { operation: 'INSERT', before_image: null, after_image: row('1', 'a') });
    take(removed, 2n, { operation: 'UPDATE', before_image: row('1', 'a'), after_image: { ...row('1', 'a'), v: 'y' } });
    assert.equal(removed.size, 0);
    take(removed, 3n, { operation: 'UPDATE', before_image: row('1', 'a'), after_image: row('1', 'b') });
    take(removed, 4n, { operation: 'UPDATE', before_image: row('1', 'b'), after_image: row('2', 'b') });
    take(removed, 5n, { operation: 'DELETE', before_image: row('2', 'b'), after_image: null });
    take(removed, 6n, { operation: 'TRUNCATE', before_image: null, after_image: null });
    assert.deepEqual(valuesOf(removed, 6n), [
      { id: '1', code: 'a' },
      { id: '1', code: 'b' },
      { id: '2', code: 'b' },
      null,
    ]);
  });

  test('of a table that no foreign key refers to are not kept', () => {
    const removed = parents([]);
    take(removed, 1n, { operation: 'DELETE', before_image: row('1', 'a'), after_image: null });
    assert.equal(removed.size, 0);
  });

  test('are due once they are stable, oldest first, and until they were looked at', () => {
    const removed = parents(['id']);
    for (const hlc of [5n, 3n, 7n]) {
      take(removed, hlc, { operation: 'DELETE', before_image: row(String(hlc), 'a'), after_image: null });
    }
    assert.deepEqual(valuesOf(removed, 5n), [{ id: '3' }, { id: '5' }]);
    removed.forget(removed.upTo(5n));
    assert.deepEqual(valuesOf(removed, 9n), [{ id: '7' }]);
  });

  test('are bounded: the oldest are given up', () => {
    const removed = parents(['id'], 2);
    const given = [1n, 2n, 3n].map((hlc) =>
      take(removed, hlc, { operation: 'DELETE', before_image: row(String(hlc), 'a'), after_image: null }),
    );
    assert.deepEqual(given, [0, 0, 1]);
    assert.deepEqual(valuesOf(removed, 9n), [{ id: '2' }, { id: '3' }]);
  });
});
