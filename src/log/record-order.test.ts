import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { change, heartbeat, positionOf, runStart, transaction } from '../../test/support/stream-records.ts';
import type { LogRecord } from '../change/stream-record.ts';
import { type Admission, REMEMBERED_MAX, RecordOrder } from './record-order.ts';

const admitAll = (order: RecordOrder, records: readonly LogRecord[]): Admission[] =>
  records.map((record, offset) => order.admit({ ...record, offset }));

const fresh = (): RecordOrder => new RecordOrder('eu', -1, []);

describe('the order of records', () => {
  test('a run, transactions and heartbeats in order are admitted', () => {
    const records = [runStart(1), ...transaction(1, 1, 3), heartbeat(1, 2), change(1, 3)];
    assert.deepEqual(admitAll(fresh(), records), ['run', 'first', 'next', 'next', 'heartbeat', 'first']);
  });

  test('records of an older run are void, whatever they are', () => {
    const records = [runStart(1), change(1, 1), runStart(2), change(1, 2), runStart(1), heartbeat(1, 9), change(2, 2)];
    assert.deepEqual(admitAll(fresh(), records), ['run', 'first', 'run', 'void', 'void', 'void', 'first']);
  });

  test('a new run voids an unfinished transaction, and sends it again from its start', () => {
    const records = [runStart(1), change(1, 1, 0, 2), change(1, 1, 1, 2), runStart(2), ...transaction(2, 1, 3)];
    assert.deepEqual(admitAll(fresh(), records), ['run', 'first', 'next', 'run', 'first', 'next', 'next']);
  });

  test('an unfinished transaction may be interrupted by records of an older run', () => {
    const order = fresh();
    admitAll(order, [runStart(2), change(2, 5, 0, 1)]);
    assert.deepEqual(admitAll(order, [change(1, 5, 0, 0), change(2, 5, 1, 1)]), ['void', 'next']);
  });

  test('what a run repeats is dropped: whole transactions, the one under way, heartbeats, the run itself', () => {
    const order = fresh();
    admitAll(order, [runStart(1), ...transaction(1, 1, 2), heartbeat(1, 2), change(1, 3, 0, 2), change(1, 3, 1, 2)]);
    const again = [runStart(1), ...transaction(1, 1, 2), heartbeat(1, 2), change(1, 3, 0, 2), change(1, 3, 1, 2)];
    assert.deepEqual(admitAll(order, [...again, change(1, 3, 2, 2), change(1, 4)]), [
      ...again.map(() => 'repeated'),
      'next',
      'first',
    ]);
  });

  const violations: [string, LogRecord[]][] = [
    ['a gap between two indexes', [change(1, 1, 0, 2), change(1, 1, 2, 2)]],
    ['a transaction without its beginning', [change(1, 1), change(1, 2, 1, 1)]],
    ['a transaction that begins before another one is finished', [change(1, 1, 0, 1), change(1, 2)]],
    ['a heartbeat within a transaction', [change(1, 1, 0, 1), heartbeat(1, 2)]],
    ['a position that goes back', [change(1, 1), change(1, 5), change(1, 3)]],
    ['a position that goes back within a transaction', [change(1, 5, 0, 1), change(1, 3)]],
  ];
  for (const [what, records] of violations) {
    test(`${what} is a violation`, () => {
      const order = fresh();
      admitAll(order, records.slice(0, -1));
      const position = records.at(-1)?.position;
      assert.throws(() => admitAll(order, records.slice(-1)), {
        code: 'SYN-L011',
        context: { stream: 'eu', offset: 0, run: 1, position, index: records.at(-1)?.index },
      });
    });
  }

  test('a reader that starts in the middle knows the run there and what was sent before', () => {
    const sent = [2, 4, 6, 8, 10].map((lsn) => change(3, lsn));
    const before = [change(1, 1), runStart(3), ...sent, change(2, 12), ...sent.slice(0, 1), change(3, 12)];
    const order = new RecordOrder('eu', 3, before);
    const records = [change(2, 14), ...sent, change(3, 12), change(3, 14)];
    assert.deepEqual(admitAll(order, records), ['void', ...sent.map(() => 'repeated'), 'repeated', 'first']);
    assert.throws(() => admitAll(order, [change(3, 3)]), { code: 'SYN-L011' });
  });

  test('the latest positions of a run are remembered, however many it has', () => {
    const order = fresh();
    const count = 5 * REMEMBERED_MAX;
    for (let lsn = 1; lsn <= count; lsn += 1) {
      const { value: _, ...header } = heartbeat(1, 1);
      order.admit({ ...header, position: positionOf(lsn), offset: lsn });
    }
    assert.deepEqual(admitAll(order, [heartbeat(1, count - REMEMBERED_MAX + 1)]), ['repeated']);
    assert.throws(() => admitAll(order, [heartbeat(1, 1)]), { code: 'SYN-L011' });
  });
});
