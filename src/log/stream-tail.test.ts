import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { change, heartbeat, positionOf, runStart, transaction } from '../../test/support/stream-records.ts';
import type { Hlc } from '../change/hlc.ts';
import type { LogRecord } from '../change/stream-record.ts';
import { MemoryLog } from './memory-log.ts';
import { readTail, type StreamTail } from './stream-tail.ts';
import { TransactionReader } from './transaction-reader.ts';

const WINDOW = 1_000n;

async function tailOf(records: readonly LogRecord[]): Promise<StreamTail & { reads: number }> {
  const log = new MemoryLog();
  if (records.length > 0) await (await log.writer('eu')).append(records);
  const reader = await log.reader('eu');
  let reads = 0;
  const counting = new Proxy(reader, {
    get(target, name) {
      if (name === 'readBefore') reads += 1;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { ...(await readTail(counting, WINDOW)), reads };
}

const keysOf = ({ stamps }: StreamTail): string[] => stamps.rows.map(({ row_pk }) => row_pk.id ?? '');

describe('the tail of a stream', () => {
  test('of an empty stream, and of one that has a run alone', async () => {
    const empty = { last: null, stamps: { highest: 0n, rows: [], any_row: 0n } };
    assert.deepEqual(await tailOf([]), { run: -1, ...empty, reads: 1 });
    assert.deepEqual(await tailOf([runStart(4)]), { run: 4, ...empty, reads: 2 });
  });

  test('the last whole transaction, by its last event, or the last heartbeat', async () => {
    const records = [runStart(1), change(1, 1), ...transaction(1, 2, 3, { hlc: 50n })];
    const { run, last } = await tailOf(records);
    assert.equal(run, 1);
    assert.deepEqual(last, { position: positionOf(2), event_id: 'event 2.2', index: 2, hlc: 50n, offset: 4 });
    assert.deepEqual((await tailOf([...records, heartbeat(1, 3, 60n), runStart(2)])).last, {
      position: positionOf(3),
      event_id: 'heartbeat 3',
      index: 0,
      hlc: 60n,
      offset: 5,
    });
  });

  test('an unfinished giant at the end is skipped without reading it', async () => {
    const giant = transaction(1, 2, 100_000).slice(0, -1);
    const { last, reads } = await tailOf([runStart(1), change(1, 1), ...giant, runStart(2)]);
    assert.equal(last?.position, positionOf(1));
    assert.ok(reads <= 4, `${reads} reads`);
  });

  test('what a zombie wrote at the end does not count', async () => {
    const zombie = Array.from({ length: 2_000 }, (_, at) => change(1, at + 3));
    const { run, last } = await tailOf([runStart(1), change(1, 1), runStart(2), change(2, 2), ...zombie]);
    assert.equal(run, 2);
    assert.equal(last?.position, positionOf(2));
  });

  test('a repetition at the end does not hide the last position', async () => {
    const sent = Array.from({ length: 1_500 }, (_, at) => change(1, at + 1, 0, 0, { hlc: BigInt(at) * 10_000n }));
    const { last } = await tailOf([runStart(1), ...sent, ...sent.slice(0, 1_200)]);
    assert.equal(last?.position, positionOf(1_500));
  });

  test('rows stamped within the window, and those of one transaction, whatever their order', async () => {
    const stamped = (lsn: number, hlc: Hlc): LogRecord => change(1, lsn, 0, 0, { hlc, key: `${lsn}` });
    const records = [
      stamped(1, 5_000n),
      stamped(2, 9_500n),
      stamped(3, 10_000n),
      stamped(4, 9_000n),
      stamped(5, 8_999n),
    ];
    const tail = await tailOf([...records, ...transaction(1, 6, 2, { hlc: 9_900n, key: 'k' })]);
    assert.equal(tail.stamps.highest, 10_000n);
    assert.deepEqual(keysOf(tail), ['k', 'k', '4', '3', '2']);
    assert.equal(tail.stamps.any_row, 0n);
  });

  test('a moved key counts under both names, and a TRUNCATE for any row', async () => {
    const { stamps } = await tailOf([
      change(1, 1, 0, 0, { hlc: 10_000n, key: 'new', keyBefore: 'old' }),
      change(1, 2, 0, 0, { hlc: 10_002n, key: 'same', keyBefore: 'same' }),
      change(1, 3, 0, 0, { hlc: 10_001n, operation: 'TRUNCATE' }),
    ]);
    assert.equal(stamps.any_row, 10_001n);
    const [same, moved] = stamps.rows;
    assert.deepEqual([same?.row_pk, same?.row_pk_before], [{ id: 'same' }, null]);
    assert.deepEqual([moved?.row_pk, moved?.row_pk_before], [{ id: 'new' }, { id: 'old' }]);
  });

  test('reading ends behind the window, and behind more rows than are listed', async () => {
    const quiet = Array.from({ length: 20_000 }, (_, at) => change(1, at + 1, 0, 0, { hlc: BigInt(at) * 100n }));
    assert.ok((await tailOf(quiet)).reads < 12);
    const crowded = Array.from({ length: 60_000 }, (_, at) =>
      change(1, at + 1, 0, 0, { hlc: 10_000n + BigInt(at % 7) }),
    );
    const { stamps, last, reads } = await tailOf(crowded);
    assert.ok(reads < 105);
    assert.equal(last?.position, positionOf(60_000));
    assert.ok(stamps.any_row >= 10_006n && stamps.any_row === stamps.highest);
  });

  test('agrees with reading the whole stream forward', async () => {
    await fc.assert(
      fc.asyncProperty(streams, async (records) => {
        const log = new MemoryLog();
        if (records.length > 0) await (await log.writer('eu')).append(records);
        const reader = await log.reader('eu');
        const forward = new TransactionReader(reader, 0);
        let position: string | null = null;
        let highest = 0n;
        const stamps: [string, Hlc][] = [];
        while (await forward.fill(0)) {
          const item = forward.shift();
          if (item.kind === 'run') continue;
          const { hlc, position: at } = item.kind === 'heartbeat' ? item.heartbeat : item;
          position = at;
          highest = hlc > highest ? hlc : highest;
          if (item.kind === 'transaction') for (const { row_pk } of item.events) stamps.push([row_pk.id ?? '', hlc]);
        }
        const tail = await readTail(reader, WINDOW);
        assert.equal(tail.last?.position ?? null, position);
        assert.equal(tail.stamps.highest, highest);
        assert.equal(tail.run, Math.max(-1, ...records.map(({ run }) => run)));
        assert.deepEqual(
          tail.stamps.rows.map(({ row_pk, hlc }) => [row_pk.id, hlc]),
          stamps.filter(([, hlc]) => hlc >= highest - WINDOW).reverse(),
        );
      }),
      { numRuns: 300 },
    );
  });
});

/** Streams of several runs: each ends within a transaction or not, and zombies write on behind the next run's start. */
const streams = fc
  .array(
    fc.record({
      whole: fc.array(fc.record({ events: fc.nat({ max: 3 }), below: fc.bigInt({ min: 0n, max: WINDOW }) }), {
        maxLength: 6,
      }),
      unfinished: fc.nat({ max: 5 }),
      zombie: fc.nat({ max: 3 }),
    }),
    { maxLength: 4 },
  )
  .map((runs) => {
    const records: LogRecord[] = [];
    let lsn = 0;
    let clock = 0n;
    for (const [run, { whole, unfinished, zombie }] of runs.entries()) {
      records.push(runStart(run + 1));
      for (let at = 1; at <= zombie; at += 1) records.push(change(run, lsn + at));
      for (const { events, below } of whole) {
        lsn += 1;
        clock += 700n;
        const hlc = clock > below ? clock - below : clock;
        records.push(...(events === 0 ? [heartbeat(run + 1, lsn, hlc)] : transaction(run + 1, lsn, events, { hlc })));
      }
      records.push(...transaction(run + 1, lsn + 1, unfinished + 1).slice(0, -1));
    }
    return records;
  });
