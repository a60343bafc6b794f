import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { change, positionOf } from '../../../test/support/stream-records.ts';
import type { ChangeEvent } from '../../change/change-event.ts';
import type { Position, Seen } from '../../change/position.ts';
import type { LogRecord } from '../../change/stream-record.ts';
import { MemoryLog } from '../../log/memory-log.ts';
import { TransactionReader } from '../../log/transaction-reader.ts';
import { type Due, LinkConsumer } from './link-consumer.ts';

const CAUSAL_WAIT_MS = 2_000;
const LEAD = { kind: 'wait', leadMicros: 1n, restMicros: 1n } as const;
const LIMIT = { rows_max: 100, transactions_max: 100 };

/** The transaction at `lsn`, which had seen `us` up to a position. */
function having(lsn: number, us: number | null): LogRecord {
  const record = change(1, lsn);
  const event = JSON.parse(record.value) as ChangeEvent;
  const seen: Seen = us === null ? {} : { us: positionOf(us) };
  return { ...record, value: JSON.stringify({ ...event, transaction: { ...event.transaction, seen } }) };
}

async function consumerOf(...records: LogRecord[]): Promise<LinkConsumer> {
  const log = new MemoryLog();
  await (await log.writer('eu')).append(records);
  const consumer = new LinkConsumer('eu', new TransactionReader(await log.reader('eu'), 0), CAUSAL_WAIT_MS);
  await consumer.fill(0);
  return consumer;
}

/** Positions that are due, or the origin that is waited for. */
function dueAt(consumer: LinkConsumer, nowMs: number, usMark: number | null, isUsDown = false): Position[] | string {
  const marks: Seen = usMark === null ? {} : { us: positionOf(usMark) };
  const due = consumer.due(marks, LIMIT, nowMs, () => isUsDown);
  if (due.kind === 'waiting') return due.origin;
  return due.kind === 'batch' ? due.items.map(({ position }) => position) : [];
}

const positions = (...lsns: number[]): Position[] => lsns.map(positionOf);

describe('what a link has due', () => {
  test('ends before the first that is ahead of the local clock', async () => {
    const consumer = await consumerOf(having(1, null), having(2, null));
    const due = (): Due =>
      consumer.due(
        {},
        LIMIT,
        0,
        () => false,
        (stamp) => (stamp > 1n ? LEAD : { kind: 'due' }),
      );
    const first = due();
    assert.ok(first.kind === 'batch' && first.items.length === 1);
    consumer.settle(positionOf(1));
    assert.deepEqual(due(), { kind: 'ahead', lead: LEAD, stamp: 2n });
  });

  test('is what has its causes, and everything before the first that lacks one', async () => {
    const consumer = await consumerOf(having(1, null), having(2, 10), having(3, 20), having(4, null));
    assert.deepEqual(dueAt(consumer, 0, null), positions(1));
    assert.deepEqual(dueAt(consumer, 0, 10), positions(1, 2));
    assert.deepEqual(dueAt(consumer, 0, 20), positions(1, 2, 3, 4));
  });

  test('does not wait for an origin whose link is down', async () => {
    const consumer = await consumerOf(having(1, 10));
    assert.equal(dueAt(consumer, 0, null), 'us');
    assert.deepEqual(dueAt(consumer, 0, null, true), positions(1));
  });

  test('is, after a wait in vain, also all that lacks the same origin, until the cause is there', async () => {
    const consumer = await consumerOf(having(1, 10), having(2, 20), having(3, 30), having(4, 40));
    assert.equal(dueAt(consumer, 0, 5), 'us');
    assert.equal(dueAt(consumer, CAUSAL_WAIT_MS - 1, 5), 'us');
    assert.deepEqual(dueAt(consumer, CAUSAL_WAIT_MS, 5), positions(1, 2, 3, 4));
    consumer.settle(positionOf(1));
    assert.deepEqual(dueAt(consumer, CAUSAL_WAIT_MS + 1, 9), positions(2, 3, 4), 'nothing waits anew');
    consumer.settle(positionOf(2));
    assert.equal(dueAt(consumer, CAUSAL_WAIT_MS + 2, 10), 'us', 'the cause came, so the origin is worth waiting for');
    assert.deepEqual(dueAt(consumer, CAUSAL_WAIT_MS + 3, 30), positions(3));
  });
});
