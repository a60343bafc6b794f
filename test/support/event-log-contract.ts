// The contract of EventLog, as a test-suite that every implementation runs. `open` gives a log that is
// empty, or that has no stream of a name that was not used before.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { LogRecord } from '../../src/change/stream-record.ts';
import type { EventLog, ReadLimit, StoredRecord } from '../../src/log/event-log.ts';
import { SynclineError } from '../../src/platform/errors.ts';
import { change, heartbeat, runStart, transaction } from './stream-records.ts';

const ALL: ReadLimit = { records_max: 1_000_000, bytes_max: 1_000_000_000 };
const LONG_MS = 30_000;

export function eventLogContract(name: string, open: () => Promise<EventLog>): void {
  describe(`${name} keeps the contract of the log`, () => {
    let log: EventLog;
    let streams = 0;
    before(async () => {
      log = await open();
    });
    after(() => log[Symbol.asyncDispose]());

    const freshStream = (): string => {
      streams += 1;
      return `stream-${streams}`;
    };

    const opened = async (stream = freshStream()) => {
      const disposables = new AsyncDisposableStack();
      const writer = disposables.use(await log.writer(stream));
      const reader = disposables.use(await log.reader(stream));
      return { stream, writer, reader, [Symbol.asyncDispose]: () => disposables.disposeAsync() };
    };

    test('a stream that nobody wrote reads as empty', async () => {
      await using reader = await log.reader(freshStream());
      assert.deepEqual(await reader.read(0, ALL), []);
      assert.deepEqual(await reader.readBefore(100, ALL), []);
      assert.equal(await reader.bounds(), null);
      assert.equal(await reader.runBefore(100), -1);
      assert.equal(await reader.waitFor(0, 0), false);
      assert.equal(await reader.sizeBytes(), 0);
    });

    test('records come back as they were appended, with the offset that append told', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      const appended = [
        runStart(1),
        ...transaction(1, 1, 3, { note: 'grüße 語 🙂 \u0000 "quoted"\n' }),
        heartbeat(1, 2),
        change(1, 3, 0, 0, { note: 'x'.repeat(300_000) }),
      ];
      const last = await writer.append(appended);
      const records = await reader.read(0, ALL);
      assert.deepEqual(records.map(withoutOffset), appended);
      assert.equal(records.at(-1)?.offset, last);
      assert.deepEqual(await reader.bounds(), { first: records[0]?.offset, last });
      assert.ok((await reader.sizeBytes()) > 300_000);
    });

    test('appends that are not awaited keep their order and get ascending offsets', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      const batches = Array.from({ length: 50 }, (_, at) => transaction(1, at + 1, (at % 3) + 1));
      const offsets = await Promise.all(batches.map((batch) => writer.append(batch)));
      const records = await reader.read(0, ALL);
      assert.deepEqual(records.map(withoutOffset), batches.flat());
      const lasts = records.filter(({ last }) => last).map(({ offset }) => offset);
      assert.deepEqual(offsets, lasts);
    });

    test('who asks for headers alone gets all of them, in the same order', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      await writer.append([runStart(1), ...transaction(1, 1, 5_000), heartbeat(1, 2)]);
      const withoutValue = (records: readonly StoredRecord[]): StoredRecord[] =>
        records.map((record) => ({ ...record, value: '' }));
      const all = withoutValue(await reader.read(0, ALL));
      assert.equal(all.length, 5_002);
      assert.deepEqual(withoutValue(await reader.read(0, { ...ALL, headers_only: true })), all);
      const some: ReadLimit = { records_max: 3, bytes_max: 1_000_000, headers_only: true };
      assert.deepEqual(withoutValue(await reader.read(4_000, some)), all.slice(4_000, 4_003));
    });

    test('a read stops at its bounds and gives at least one record', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      await writer.append(transaction(1, 1, 1_200, { note: 'x'.repeat(100) }));
      const all = await reader.read(0, ALL);
      assert.equal(all.length, 1_200);
      const size = all[0]?.value.length ?? 0;
      assert.deepEqual(await reader.read(0, { records_max: 3, bytes_max: 1e9 }), all.slice(0, 3));
      assert.deepEqual(await reader.read(0, { records_max: 700, bytes_max: 1e9 }), all.slice(0, 700));
      assert.deepEqual(await reader.read(0, { records_max: 100, bytes_max: size * 2.5 }), all.slice(0, 2));
      assert.deepEqual(await reader.read(0, { records_max: 100, bytes_max: 1 }), all.slice(0, 1));
      const from = all[600]?.offset ?? 0;
      assert.deepEqual(await reader.read(from, { records_max: 2, bytes_max: 1e9 }), all.slice(600, 602));
      assert.deepEqual(await reader.readBefore(from, { records_max: 2, bytes_max: 1e9 }), all.slice(598, 600));
      assert.deepEqual(await reader.readBefore(from, { records_max: 2, bytes_max: 1 }), all.slice(599, 600));
      assert.deepEqual(await reader.readBefore(from, ALL), all.slice(0, 600));
      assert.deepEqual(await reader.readBefore(all[0]?.offset ?? 0, ALL), []);
    });

    test('waitFor resolves once the offset exists, at once if it does already', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      const waiting = reader.waitFor(0, LONG_MS);
      const first = await writer.append([runStart(1)]);
      assert.equal(await waiting, true);
      assert.equal(await reader.waitFor(first, 0), true);
      assert.equal(await reader.waitFor(first + 1, 0), false);
      const further = reader.waitFor(first + 2, LONG_MS);
      const second = await writer.append([heartbeat(1, 1)]);
      await writer.append(transaction(1, 2, first + 2 - second + 1));
      assert.equal(await further, true);
    });

    test('a reader that was opened before its stream existed is told of the first record', async () => {
      const stream = freshStream();
      await using reader = await log.reader(stream);
      const waiting = reader.waitFor(0, LONG_MS);
      await using writer = await log.writer(stream);
      await writer.append([runStart(1)]);
      assert.equal(await waiting, true);
      assert.equal((await reader.read(0, ALL)).length, 1);
    });

    test('waitFor ends without the record at its timeout and when its signal aborts', async () => {
      await using streams = await opened();
      const { reader } = streams;
      assert.equal(await reader.waitFor(0, 1), false);
      const controller = new AbortController();
      const waiting = reader.waitFor(0, LONG_MS, controller.signal);
      controller.abort();
      assert.equal(await waiting, false);
      assert.equal(await reader.waitFor(0, LONG_MS, controller.signal), false);
    });

    test('trim drops what is below the offset, and never the newest record', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      await writer.append([runStart(1), ...transaction(1, 1, 9)]);
      const all = await reader.read(0, ALL);
      await writer.trim(all[4]?.offset ?? 0);
      assert.deepEqual(await reader.read(0, ALL), all.slice(4));
      assert.deepEqual(await reader.readBefore(all[6]?.offset ?? 0, ALL), all.slice(4, 6));
      assert.equal((await reader.bounds())?.first, all[4]?.offset);
      await writer.trim(all[2]?.offset ?? 0);
      assert.deepEqual(await reader.read(0, ALL), all.slice(4));
      await writer.trim(1_000_000);
      assert.deepEqual(await reader.read(0, ALL), all.slice(9));
    });

    test('who reads on behind a trim gets nothing that it dropped', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      await writer.append(transaction(1, 1, 9));
      const all = await reader.read(0, ALL);
      const one: ReadLimit = { ...ALL, records_max: 1 };
      assert.deepEqual(await reader.read(all[0]?.offset ?? 0, one), all.slice(0, 1));
      await writer.trim(all[4]?.offset ?? 0);
      assert.deepEqual(await reader.read(all[1]?.offset ?? 0, one), all.slice(4, 5));
      assert.deepEqual(await reader.read(all[5]?.offset ?? 0, one), all.slice(5, 6));
    });

    test('offsets and runs go on after a trim and another writer', async () => {
      const stream = freshStream();
      await using reader = await log.reader(stream);
      let last: number;
      {
        await using writer = await log.writer(stream);
        last = await writer.append([runStart(7), heartbeat(7, 1), runStart(3)]);
        await writer.trim(last + 1);
      }
      await using writer = await log.writer(stream);
      const next = await writer.append([heartbeat(3, 2)]);
      assert.ok(next > last);
      assert.equal(await reader.runBefore(last), 7);
      assert.equal(await reader.runBefore(next), 7);
      assert.equal(await reader.runBefore(next + 1), 7);
    });

    test('runBefore is the highest run of all records below an offset', async () => {
      await using streams = await opened();
      const { writer, reader } = streams;
      await writer.append([runStart(2), heartbeat(2, 1), runStart(5), heartbeat(2, 2), runStart(4), runStart(6)]);
      const records = await reader.read(0, ALL);
      const runs = await Promise.all(records.map(({ offset }) => reader.runBefore(offset)));
      assert.deepEqual(runs, [-1, 2, 2, 5, 5, 5]);
      assert.equal(await reader.runBefore((records.at(-1)?.offset ?? 0) + 1), 6);
    });

    test('acknowledgements are kept per stream and consumer, the latest one each', async () => {
      const [stream, other] = [freshStream(), freshStream()];
      assert.deepEqual(await log.acknowledged(stream), new Map());
      await log.acknowledge(stream, 'us-east:eu-west', 4);
      await log.acknowledge(stream, 'Über/..\\ %41', 0);
      await Promise.all([5, 6, 7, 3].map((offset) => log.acknowledge(stream, 'us-east:eu-west', offset)));
      assert.deepEqual(
        new Map(await log.acknowledged(stream)),
        new Map([
          ['us-east:eu-west', 3],
          ['Über/..\\ %41', 0],
        ]),
      );
      assert.deepEqual(await log.acknowledged(other), new Map());
    });

    test('streams do not touch each other, whatever their names are', async () => {
      const names = ['eu', 'EU', 'eu-control', 'eu.control', '../eu', 'ünï/code', '%65u'];
      for (const name of names) {
        await using writer = await log.writer(name);
        await writer.append([heartbeat(names.indexOf(name), 1)]);
      }
      for (const name of names) {
        await using reader = await log.reader(name);
        assert.deepEqual(
          (await reader.read(0, ALL)).map(({ run }) => run),
          [names.indexOf(name)],
        );
        assert.equal(reader.stream, name);
      }
    });

    test('a closed writer takes nothing', async () => {
      const { writer, reader, stream } = await opened();
      await writer.append([runStart(1)]);
      await writer[Symbol.asyncDispose]();
      await assert.rejects(writer.append([heartbeat(1, 1)]), SynclineError);
      await writer[Symbol.asyncDispose]();
      assert.equal((await reader.read(0, ALL)).length, 1, stream);
      await reader[Symbol.asyncDispose]();
    });

    test('any interleaving of appends, reads, trims and acknowledgements agrees with a list', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(commands, { maxLength: 40 }), async (steps) => {
          await using streams = await opened();
          const { stream, writer, reader } = streams;
          const model = new ModelStream();
          const pending: Promise<void>[] = [];
          let readTo = 0;
          for (const step of steps) {
            switch (step.kind) {
              case 'append': {
                const stored = model.append(step.sizes, step.run);
                pending.push(writer.append(stored.map(withoutOffset)).then((last) => model.settle(stored, last)));
                if (step.isAwaited) await Promise.all(pending);
                break;
              }
              case 'read': {
                await Promise.all(pending);
                const from = step.from ?? readTo;
                const records = await reader.read(from, step.limit);
                assert.deepEqual(records, model.read(from, step.limit));
                assert.deepEqual(await reader.readBefore(from, step.limit), model.back(from, step.limit));
                assert.equal(await reader.waitFor(from, 0), from <= model.last);
                readTo = (records.at(-1)?.offset ?? from - 1) + 1;
                break;
              }
              case 'trim':
                await Promise.all(pending);
                await writer.trim(step.offset);
                model.trim(step.offset);
                assert.equal((await reader.bounds())?.first, model.records[0]?.offset);
                break;
              case 'acknowledge':
                await log.acknowledge(stream, step.consumer, step.offset);
                assert.equal((await log.acknowledged(stream)).get(step.consumer), step.offset);
                break;
            }
          }
          await Promise.all(pending);
          assert.deepEqual(await reader.read(0, ALL), model.records);
          assert.equal(await reader.runBefore(1_000_000), model.highestRun);
        }),
        { numRuns: 60 },
      );
    });
  });
}

const offsets = fc.nat({ max: 60 });
const commands = fc.oneof(
  fc.record({
    kind: fc.constant('append' as const),
    // A large record may stand between small ones, of which those beyond it would still fit.
    sizes: fc.array(fc.oneof(fc.nat({ max: 50 }), fc.constantFrom(1_500, 5_000)), { minLength: 1, maxLength: 12 }),
    run: fc.nat({ max: 3 }),
    isAwaited: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('read' as const),
    // Null reads on where the last read ended.
    from: fc.option(offsets, { freq: 1 }),
    limit: fc.record({ records_max: fc.integer({ min: 1, max: 12 }), bytes_max: fc.integer({ min: 1, max: 4_000 }) }),
  }),
  fc.record({ kind: fc.constant('trim' as const), offset: offsets }),
  fc.record({ kind: fc.constant('acknowledge' as const), consumer: fc.constantFrom('a', 'b'), offset: offsets }),
);

type Kept = LogRecord & { readonly offset: number };

/** A log whose offsets are dense, which those of a log that is empty at first are in every implementation here. */
class ModelStream {
  records: Kept[] = [];
  highestRun = -1;
  #next = 0;

  get last(): number {
    return this.#next - 1;
  }

  append(sizes: readonly number[], run: number): Kept[] {
    const stored = sizes.map((size, at) => ({
      ...change(run, this.#next + at + 1, 0, 0, { note: 'x'.repeat(size) }),
      offset: this.#next + at,
    }));
    this.records.push(...stored);
    this.#next += stored.length;
    this.highestRun = Math.max(this.highestRun, run);
    return stored;
  }

  settle(stored: readonly Kept[], last: number): void {
    assert.equal(last, stored.at(-1)?.offset);
  }

  trim(offset: number): void {
    this.records = this.records.filter((record) => record.offset >= offset || record.offset === this.last);
  }

  read(from: number, limit: ReadLimit): Kept[] {
    return within(
      this.records.filter(({ offset }) => offset >= from),
      limit,
    );
  }

  back(before: number, limit: ReadLimit): Kept[] {
    const below = this.records.filter(({ offset }) => offset < before);
    return within(below.toReversed(), limit).reverse();
  }
}

function within(records: readonly Kept[], limit: ReadLimit): Kept[] {
  const taken: Kept[] = [];
  let bytes = 0;
  for (const record of records) {
    bytes += record.value.length;
    if (taken.length > 0 && (taken.length === limit.records_max || bytes > limit.bytes_max)) break;
    taken.push(record);
  }
  return taken;
}

function withoutOffset<T extends { readonly offset: number }>({ offset: _, ...record }: T): Omit<T, 'offset'> {
  return record;
}
