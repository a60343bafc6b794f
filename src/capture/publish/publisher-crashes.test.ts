// The publisher, restarted from its own stream again and again while the log crashes in mid-append.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  change,
  EPOCH,
  endOf,
  make,
  REGION,
  type Sent,
  START_MICROS,
  send,
  sent,
} from '../../../test/support/made-publisher.ts';
import { hasCode } from '../../../test/support/replication-source.ts';
import type { ChangeEvent } from '../../change/change-event.ts';
import { makePosition, type Position } from '../../change/position.ts';
import { runRecord } from '../../change/stream-record.ts';
import type { StreamWriter } from '../../log/event-log.ts';
import { MemoryLog } from '../../log/memory-log.ts';
import type { HeartbeatItem, TransactionItem } from '../../log/stream-item.ts';
import { TransactionReader } from '../../log/transaction-reader.ts';
import { ActiveMerges } from './active-merges.ts';
import type { RowChange } from './decoded-transaction.ts';
import type { PublisherLimits } from './publisher.ts';
import { readResumePoint } from './resume-point.ts';

describe('through crashes at any moment', () => {
  const drawnRows = fc.array(fc.record({ id: fc.constantFrom('1', '2', '3'), table: fc.constantFrom('t', 'u') }), {
    maxLength: 6,
  });
  const drawnHistory = fc.array(
    fc.record({ rows: drawnRows, heartbeat: fc.boolean(), drift: fc.integer({ min: -300, max: 300 }) }),
    { minLength: 1, maxLength: 12 },
  );
  const drawnCrashes = fc.array(fc.record({ appends: fc.nat({ max: 4 }), partial: fc.nat({ max: 3 }) }), {
    maxLength: 5,
  });
  type Drawn<A> = A extends fc.Arbitrary<infer T> ? T : never;
  type Limits = Partial<PublisherLimits>;

  function historyOf(drawn: Drawn<typeof drawnHistory>): Sent[] {
    return drawn.map(({ rows, heartbeat, drift }, index) => {
      const made = rows.map(({ id, table }) => change(id, { table }));
      const commitMicros = START_MICROS + BigInt(index * 100 + drift);
      return sent(index + 1, made, { commitMicros, ...(heartbeat ? { members: [REGION] } : {}) });
    });
  }

  /** Publishes the history with one run after another, of which all but the last crash in mid-append. */
  async function publish(
    history: readonly Sent[],
    limits: Limits,
    crashes: Drawn<typeof drawnCrashes>,
    newest: () => ActiveMerges = () => new ActiveMerges(REGION),
  ) {
    const log = new MemoryLog();
    const reader = await log.reader(REGION);
    const tables = ['t', 'u'].map((table) => ({ schema: 'public', table }));
    let confirmedLsn = 0n;
    for (let run = 1; run <= crashes.length + 1; run += 1) {
      const crash = crashes[run - 1];
      const writer = await log.writer(REGION);
      await writer.append([runRecord({ region_id: REGION, run, epoch: EPOCH, opened_at: '', forked_at: null })]);
      const { tail, predecessor, stamper } = await readResumePoint(reader, tables);
      let appends = 0;
      let durable: Position | null = predecessor;
      const append: StreamWriter['append'] = async (records) => {
        if (appends === crash?.appends) log.crashAppend(REGION, crash.partial);
        appends += 1;
        const offset = await writer.append(records);
        durable = records.findLast(({ last }) => last)?.position ?? durable;
        return offset;
      };
      const onDurable = (lsn: bigint): void => {
        const end = history.find((each) => endOf(each) === lsn);
        assert.ok(end !== undefined, 'what is confirmed ends a transaction');
        const published = history.findLast(({ rows, members, lsn: at }) => {
          return at <= end.lsn && (rows.length > 0 || members !== undefined);
        });
        const isDurable = published === undefined || (durable ?? '') >= makePosition(EPOCH, published.lsn);
        assert.ok(isDurable, 'what is confirmed is durable');
        assert.ok(lsn >= confirmedLsn, 'what is confirmed never goes back');
        confirmedLsn = lsn;
      };
      // The database has come to its newest state when the agent comes back.
      const merges = run === 1 ? new ActiveMerges(REGION) : newest();
      const start = { run, limits, merges, stamper, resumeAfter: tail, confirmedLsn, predecessor, onDurable };
      const { publisher } = make({ ...start, writer: { append } });
      try {
        for (const each of history) if (each.lsn >= confirmedLsn) await send(publisher, each);
        await publisher.durable();
      } catch (error) {
        assert.ok(hasCode('SYN-L002')(error), String(error));
      }
    }
    const items = new TransactionReader(reader, 0);
    const read: (TransactionItem | HeartbeatItem)[] = [];
    while (await items.fill(0)) {
      const item = items.shift();
      if (item.kind === 'transaction' || item.kind === 'heartbeat') read.push(item);
    }
    return read;
  }

  const content = (item: TransactionItem | HeartbeatItem): unknown =>
    item.kind === 'heartbeat' ? item.heartbeat : item.events;

  test('the stream is whole, in order, chained, and word for word the one without crashes', async () => {
    await fc.assert(
      fc.asyncProperty(drawnHistory, drawnCrashes, async (drawn, crashes) => {
        const history = historyOf(drawn);
        const limits = { append_rows_max: 3 };
        const expected = await publish(history, limits, []);
        assert.deepEqual((await publish(history, limits, crashes)).map(content), expected.map(content));
      }),
      { numRuns: 200 },
    );
  });

  test('transactions that stream out are never doubled either, and no row is stamped below itself', async () => {
    await fc.assert(
      fc.asyncProperty(drawnHistory, drawnCrashes, async (drawn, crashes) => {
        const history = historyOf(drawn);
        const read = await publish(history, { transaction_rows_max: 2, append_rows_max: 3 }, crashes);
        const published = history.filter(({ rows, members }) => rows.length > 0 || members !== undefined);
        let predecessor: Position | null = null;
        const stamps = new Map<string, bigint>();
        for (const [place, item] of read.entries()) {
          const head = item.kind === 'heartbeat' ? item.heartbeat : item;
          assert.equal(head.position, makePosition(EPOCH, published[place]?.lsn ?? 0n));
          assert.equal(head.predecessor, predecessor);
          predecessor = head.position;
          if (item.kind === 'heartbeat') continue;
          assert.equal(item.events.length, published[place]?.rows.length);
          for (const row of new Set(item.events.map(({ table_name, row_pk }) => `${table_name} ${row_pk.id}`))) {
            assert.ok(item.hlc > (stamps.get(row) ?? 0n), row);
            stamps.set(row, item.hlc);
          }
        }
        assert.equal(read.length, published.length);
      }),
      { numRuns: 200 },
    );
  });

  test('an event names the merge rule of its place in the WAL, or the newest one early; its id is the same', async () => {
    const activate = (place: number): RowChange => ({
      ...change('1'),
      schema: 'syncline',
      table: 'merge_activation',
      after: {
        id: '1',
        region: REGION,
        schema_name: 'public',
        table_name: 't',
        version_id: `v${place}`,
        percent: '100',
      },
    });
    await fc.assert(
      fc.asyncProperty(drawnHistory, drawnCrashes, async (drawn, crashes) => {
        const history = historyOf(drawn).map((each, place) =>
          place % 3 === 1 ? { ...each, rows: [...each.rows, activate(place), ...each.rows] } : each,
        );
        const newest = (): ActiveMerges => {
          const merges = new ActiveMerges(REGION);
          for (const row of history.flatMap(({ rows }) => rows)) merges.next(row);
          return merges;
        };
        const last = newest().next(change('1')).merge;
        const limits = { append_rows_max: 3 };
        const eventsOf = (items: Awaited<ReturnType<typeof publish>>): ChangeEvent[] =>
          items.flatMap((item) => (item.kind === 'transaction' ? item.events : []));
        const expected = eventsOf(await publish(history, limits, [], newest));
        const events = eventsOf(await publish(history, limits, crashes, newest));
        assert.deepEqual(
          events.map(({ event_id }) => event_id),
          expected.map(({ event_id }) => event_id),
        );
        for (const [place, { merge, table_name }] of events.entries()) {
          if (table_name !== 't') assert.equal(merge, undefined);
          else assert.ok(merge === expected[place]?.merge || merge === last, `${merge} at ${place}`);
        }
      }),
      { numRuns: 200 },
    );
  });
});
