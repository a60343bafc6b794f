import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  baseline,
  change,
  heartbeat,
  LONG_GIANT_ROWS,
  longGiant,
  positionOf,
  runStart,
  transaction,
} from '../../test/support/stream-records.ts';
import type { ChangeEvent } from '../change/change-event.ts';
import type { LogRecord } from '../change/stream-record.ts';
import type { StreamReader } from './event-log.ts';
import { MemoryLog } from './memory-log.ts';
import type { StreamItem } from './stream-item.ts';
import { READ_AHEAD, TransactionReader } from './transaction-reader.ts';

async function streamOf(records: readonly LogRecord[]): Promise<{ log: MemoryLog; reader: StreamReader }> {
  const log = new MemoryLog();
  if (records.length > 0) await (await log.writer('eu')).append(records);
  return { log, reader: await log.reader('eu') };
}

/** Short names of items: `r1` a run, `h2` a heartbeat, `t3:2` a transaction with two events, `g4:9` a giant. */
function nameOf(item: StreamItem): string {
  if (item.kind === 'run') return `r${item.run.run}`;
  const lsn = Number(BigInt(`0x${(item.kind === 'heartbeat' ? item.heartbeat : item).position.slice(20)}`));
  if (item.kind === 'heartbeat') return `h${lsn}`;
  return item.kind === 'giant' ? `g${lsn}:${item.events_count}` : `t${lsn}:${item.events.length}`;
}

async function readItems(reader: TransactionReader): Promise<StreamItem[]> {
  const items: StreamItem[] = [];
  for await (const item of reader.items()) items.push(item);
  return items;
}

async function eventsOf(item: StreamItem): Promise<ChangeEvent[]> {
  if (item.kind === 'transaction') return [...item.events];
  const events: ChangeEvent[] = [];
  if (item.kind === 'giant') for await (const chunk of item.chunks()) events.push(...chunk);
  return events;
}

describe('the transaction reader', () => {
  test('goes on to the end of the stream behind a giant within which it gives its caller the turn', async () => {
    const { reader } = await streamOf([runStart(1), ...longGiant(1, 1), change(1, 2)]);
    const inTurns = new TransactionReader(reader, 0);
    while (await inTurns.fill(0)) inTurns.shift();
    assert.equal(await inTurns.fill(1), true, 'the giant is too short to tell anything');
    const items = await readItems(new TransactionReader(reader, 0));
    assert.deepEqual(items.map(nameOf), ['r1', `g1:${LONG_GIANT_ROWS}`, 't2:1']);
  });

  test('gives whole transactions, heartbeats and runs, with what their events agree on', async () => {
    const { reader } = await streamOf([runStart(1), ...transaction(1, 1, 2, { hlc: 77n }), heartbeat(1, 2)]);
    const items = await readItems(new TransactionReader(reader, 0));
    assert.deepEqual(items.map(nameOf), ['r1', 't1:2', 'h2']);
    const { events, ...head } = items[1] as Extract<StreamItem, { kind: 'transaction' }>;
    assert.deepEqual(head, {
      kind: 'transaction',
      position: positionOf(1),
      predecessor: null,
      hlc: 77n,
      seen: {},
      xid: 1,
      committed_at: '2026-01-01T00:00:00.000000Z',
      first_offset: 1,
      last_offset: 2,
    });
    assert.deepEqual(
      events.map(({ event_id }) => event_id),
      ['event 1.0', 'event 1.1'],
    );
    assert.deepEqual(items[2]?.kind === 'heartbeat' && items[2].offset, 3);
  });

  test('an unfinished transaction is no item until its end is there', async () => {
    const { log, reader } = await streamOf([runStart(1), change(1, 1, 0, 1)]);
    const transactions = new TransactionReader(reader, 1);
    assert.equal(await transactions.fill(0), false);
    assert.equal(transactions.bufferedRows, 1);
    const filled = transactions.fill(1_000);
    await (await log.writer('eu')).append([change(1, 1, 1, 1)]);
    assert.equal(await filled, true);
    assert.equal(nameOf(transactions.shift()), 't1:2');
    assert.deepEqual([transactions.bufferedRows, transactions.bufferedBytes], [0, 0]);
  });

  test('waiting ends when the signal aborts', async () => {
    const { reader } = await streamOf([]);
    const controller = new AbortController();
    const filled = new TransactionReader(reader, 0).fill(1_000, controller.signal);
    controller.abort();
    assert.equal(await filled, false);
  });

  test('what a dead run left behind is ignored, also where reading begins behind the new run', async () => {
    const records = [
      runStart(1),
      change(1, 1),
      change(1, 2, 0, 1),
      runStart(2),
      change(1, 2, 1, 1),
      ...transaction(2, 2, 2),
      change(1, 3),
      change(2, 3),
    ];
    const { reader } = await streamOf(records);
    const items = await readItems(new TransactionReader(reader, 0));
    assert.deepEqual(items.map(nameOf), ['r1', 't1:1', 'r2', 't2:2', 't3:1']);
    const later = await readItems(new TransactionReader(reader, 7));
    assert.deepEqual(later.map(nameOf), ['t3:1']);
  });

  test('read-ahead stops at its bound of rows or bytes and goes on as items are taken', async () => {
    const records = Array.from({ length: 1_000 }, (_, at) => change(1, at + 1, 0, 0, { note: 'x'.repeat(500) }));
    const { reader } = await streamOf(records);
    const size = records[0]?.value.length ?? 0;
    for (const limits of [
      { rows_max: 100, bytes_max: 1e9 },
      { rows_max: 1e9, bytes_max: 100 * size },
    ]) {
      const transactions = new TransactionReader(reader, 0, limits);
      for (let call = 0; call < 10; call += 1) assert.equal(await transactions.fill(0), true);
      assert.ok(transactions.bufferedRows <= 200, `${transactions.bufferedRows} rows`);
      assert.ok(transactions.bufferedBytes <= 220 * size);
      assert.equal(transactions.peek(50)?.kind, 'transaction');
      const items = await readItems(transactions);
      assert.deepEqual(
        items.map(nameOf),
        records.map((_, at) => `t${at + 1}:1`),
      );
      assert.deepEqual([transactions.bufferedRows, transactions.bufferedBytes], [0, 0]);
    }
  });

  test('a transaction beyond the bounds becomes a giant that is read again in pieces', async () => {
    const giantRecords = transaction(1, 2, 5_000);
    const zombie = change(0, 2, 2_500, 4_999, { key: 'of a zombie' });
    const records = [change(1, 1), ...giantRecords.toSpliced(2_500, 0, zombie), change(1, 3)];
    const { reader } = await streamOf(records);
    const transactions = new TransactionReader(reader, 0, { rows_max: 100, bytes_max: 1e9 });
    const items: StreamItem[] = [];
    let rows = 0;
    while (await transactions.fill(0)) {
      rows = Math.max(rows, transactions.bufferedRows);
      items.push(transactions.shift());
    }
    assert.deepEqual(items.map(nameOf), ['t1:1', 'g2:5000', 't3:1']);
    assert.ok(rows <= 200);
    const giant = items[1] as Extract<StreamItem, { kind: 'giant' }>;
    assert.deepEqual([giant.first_offset, giant.last_offset, giant.predecessor], [1, 5_001, positionOf(1)]);
    for (const pass of [1, 2]) {
      const values: string[] = [];
      for await (const chunk of giant.chunks()) {
        assert.ok(chunk.length <= 100);
        values.push(...chunk.map((event) => JSON.stringify(event)));
      }
      assert.deepEqual(
        values,
        giantRecords.map(({ value }) => value),
        `pass ${pass}`,
      );
    }
  });

  test('the end of a giant is looked for by headers alone, whatever stands amid it', async () => {
    const giant = transaction(1, 2, 30_000);
    const amid = [change(0, 2, 20_000, 29_999), change(0, 9), { ...giant[20_000], index: 15_000 } as (typeof giant)[0]];
    const { reader } = await streamOf([change(1, 1), ...giant.toSpliced(20_000, 0, ...amid), change(1, 3)]);
    let values = 0;
    const read = reader.read.bind(reader);
    reader.read = async (from, limit) => {
      const records = await read(from, limit);
      values += records.filter(({ value }) => value !== '').length;
      return records;
    };
    const transactions = new TransactionReader(reader, 0);
    const items: StreamItem[] = [];
    while (await transactions.fill(0)) items.push(transactions.shift());
    assert.deepEqual(items.map(nameOf), ['t1:1', 'g2:30000', 't3:1']);
    assert.ok(values < 15_000, `${values} values were read`);
    assert.equal((await eventsOf(items[1] as StreamItem)).length, 30_000);
  });

  test('a run that begins amid a giant sends it again from its start', async () => {
    const { reader } = await streamOf([...transaction(1, 2, 50).slice(0, 30), runStart(2), ...transaction(2, 2, 40)]);
    const items = await readItems(new TransactionReader(reader, 0, { rows_max: 10, bytes_max: 1e9 }));
    assert.deepEqual(items.map(nameOf), ['r2', 'g2:40']);
  });

  test('a giant that was trimmed meanwhile cannot be read again', async () => {
    const { log, reader } = await streamOf([...transaction(1, 1, 300), change(1, 2)]);
    const transactions = new TransactionReader(reader, 0, { rows_max: 10, bytes_max: 1e9 });
    assert.equal(await transactions.fill(0), true);
    const giant = transactions.shift();
    await (await log.writer('eu')).trim(150);
    await assert.rejects(eventsOf(giant), { code: 'SYN-L004' });
  });

  test('items before a violation are given out, then it is thrown', async () => {
    const { reader } = await streamOf([change(1, 1), change(1, 2, 0, 1), change(1, 3)]);
    const transactions = new TransactionReader(reader, 0);
    assert.equal(await transactions.fill(0), true);
    assert.equal(nameOf(transactions.shift()), 't1:1');
    for (const call of [1, 2]) await assert.rejects(transactions.fill(0), { code: 'SYN-L011' }, `call ${call}`);
  });

  test('a value that cannot be decoded, or contradicts its header, is a typed error', async () => {
    const good = change(1, 1);
    const bad = ['{', 'null', '{}', change(1, 1, 5, 5).value, good.value.replace(/"hlc_timestamp":"\d+"/, '"x":1')];
    for (const value of bad) {
      const { reader } = await streamOf([{ ...good, value }]);
      await assert.rejects(new TransactionReader(reader, 0).fill(0), { code: 'SYN-L006' }, value);
    }
    for (const record of [runStart(1), heartbeat(1, 1)]) {
      const { reader } = await streamOf([{ ...record, value: '{' }]);
      await assert.rejects(new TransactionReader(reader, 0).fill(0), { code: 'SYN-L006' });
    }
  });

  test('reading from a place that was trimmed is a typed error, at the start and while reading', async () => {
    const { log, reader } = await streamOf(Array.from({ length: 10 }, (_, at) => change(1, at + 1)));
    const transactions = new TransactionReader(reader, 0, { rows_max: 2, bytes_max: 1e9 });
    assert.equal(await transactions.fill(0), true);
    await (await log.writer('eu')).trim(5);
    await assert.rejects(readItems(transactions), { code: 'SYN-L004' });
    await assert.rejects(new TransactionReader(reader, 4).fill(0), { code: 'SYN-L004' });
    assert.equal((await readItems(new TransactionReader(reader, 5))).length, 5);
  });

  test('any stream of runs, crashes, zombies and repeated appends gives each transaction once and whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(schedule, { maxLength: 30 }),
        fc.integer({ min: 1, max: 8 }),
        fc.nat({ max: 20 }),
        async (steps, rows_max, resumeAfter) => {
          const { log, expected } = await write(steps);
          const reader = await log.reader('eu');
          const items = await readItems(new TransactionReader(reader, 0, { ...READ_AHEAD, rows_max }));
          assert.deepEqual(
            items.map((item) => nameOf(item).replace('g', 't')),
            expected,
          );
          for (const item of items) {
            const indexes = (await eventsOf(item)).map((event) => event.transaction.index);
            assert.deepEqual(
              indexes,
              indexes.map((_, index) => index),
            );
          }
          // Beginning behind any item gives what follows it, and nothing else.
          const resumed = items[resumeAfter];
          if (resumed === undefined) return;
          const from = ('offset' in resumed ? resumed.offset : resumed.last_offset) + 1;
          const rest = await readItems(new TransactionReader(reader, from, READ_AHEAD));
          assert.deepEqual(
            rest.map((item) => nameOf(item)),
            expected.slice(resumeAfter + 1),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});

const schedule = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('transaction' as const), events: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('heartbeat' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('baseline' as const),
      before: fc.nat({ max: 3 }),
      events: fc.nat({ max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('repeat' as const), count: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('zombie' as const), events: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), events: fc.integer({ min: 2, max: 12 }) }) },
);

type Step = typeof schedule extends fc.Arbitrary<infer T> ? T : never;

/** Writes a stream as captures that start, crash, linger and repeat themselves do, and says what is to be read. */
async function write(steps: readonly Step[]): Promise<{ log: MemoryLog; expected: string[] }> {
  const log = new MemoryLog();
  const expected: string[] = ['r1'];
  let run = 1;
  let lsn = 0;
  let writer = await log.writer('eu');
  let ofRun: LogRecord[] = [runStart(1)];
  const append = async (records: readonly LogRecord[]): Promise<void> => {
    await writer.append(records);
    ofRun.push(...records);
  };
  await writer.append(ofRun);
  for (const step of steps) {
    switch (step.kind) {
      case 'transaction':
        lsn += 1;
        expected.push(`t${lsn}:${step.events}`);
        await append(transaction(run, lsn, step.events));
        break;
      case 'heartbeat':
        lsn += 1;
        expected.push(`h${lsn}`);
        await append([heartbeat(run, lsn)]);
        break;
      case 'baseline': {
        // It may stand amid a transaction, and is no item.
        const events = step.before + step.events;
        if (events > 0) {
          lsn += 1;
          expected.push(`t${lsn}:${events}`);
        }
        const records = transaction(run, lsn, events);
        await append([...records.slice(0, step.before), baseline(run), ...records.slice(step.before)]);
        break;
      }
      case 'repeat':
        await writer.append(ofRun.slice(-step.count));
        break;
      case 'zombie':
        await writer.append(
          transaction(run - 1, lsn + 1, step.events)
            .slice(0, -1)
            .concat(heartbeat(run - 1, lsn), baseline(run - 1)),
        );
        break;
      case 'crash':
        log.crashAppend('eu', step.events - 1);
        await assert.rejects(writer.append(transaction(run, lsn + 1, step.events)));
        writer = await log.writer('eu');
        run += 1;
        expected.push(`r${run}`);
        ofRun = [runStart(run)];
        await writer.append(ofRun);
        break;
    }
  }
  return { log, expected };
}
