import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryBroker, type MemoryTopic } from '../../../test/support/memory-broker.ts';
import { PassingTime } from '../../../test/support/passing-time.ts';
import { change, heartbeat, runStart, transaction } from '../../../test/support/stream-records.ts';
import { waitFor } from '../../../test/support/wait-for.ts';
import { TransactionReader } from '../transaction-reader.ts';
import { recordBody } from './kafka-batch.ts';

const LONG_MS = 3_600_000;
const ALL = { records_max: 1_000_000, bytes_max: 1_000_000_000 };

/** What comes without any time going by; else it is an error. */
async function soon<T>(coming: Promise<T>): Promise<T> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  coming.then(over, over);
  for (let turn = 0; turn < 100 && !isOver; turn += 1) await new Promise(setImmediate);
  if (!isOver) throw new Error('it does not come');
  return await coming;
}

/** A stream of ten records, of which those at 6 and 7 are a zombie's. */
function withZombie(broker: MemoryBroker): ReturnType<MemoryBroker['stream']> {
  const made = broker.stream();
  made.data.append([runStart(1), heartbeat(1, 1)]);
  made.data.append([runStart(2), ...transaction(2, 2, 2)]);
  made.data.append([heartbeat(2, 3)]);
  made.data.append(transaction(1, 4, 2));
  made.data.append([heartbeat(2, 4), heartbeat(2, 5)]);
  return made;
}

/** Holds back the fetches of that topic whose numbers, from 0 on, are given. */
function holdBack(broker: MemoryBroker, topic: string, ...numbers: number[]): void {
  let count = -1;
  broker.throttleMs = (name) => {
    if (name !== topic) return 0;
    count += 1;
    return numbers.includes(count) ? 1 : 0;
  };
}

describe('a fetch that the brokers hold back by a quota is no end of the stream', () => {
  test('for who reads', async () => {
    const broker = new MemoryBroker();
    const { reader } = withZombie(broker);
    holdBack(broker, 'eu.data', 0, 1, 3);
    assert.equal((await reader.read(0, ALL)).length, 10);
  });

  test('for who looks back', async () => {
    const broker = new MemoryBroker();
    const { reader, data } = broker.stream();
    data.append([runStart(1)]);
    for (let lsn = 1; lsn <= 100; lsn += 1) data.append([change(1, lsn)]);
    holdBack(broker, 'eu.data', 1);
    const offsets = (await reader.readBefore(101, { ...ALL, records_max: 60 })).map(({ offset }) => offset);
    assert.deepEqual(
      offsets,
      Array.from({ length: 60 }, (_, place) => 41 + place),
    );
  });

  test('for who asks for the run that counts, so that nothing of a zombie does', async () => {
    const broker = new MemoryBroker();
    const { reader } = withZombie(broker);
    holdBack(broker, 'eu.data', 0);
    const resumed = new TransactionReader(reader, 6);
    const kinds: string[] = [];
    while (await resumed.fill(0)) kinds.push(resumed.shift().kind);
    assert.deepEqual(kinds, ['heartbeat', 'heartbeat']);
    assert.equal(await reader.runBefore(6), 2);
  });

  test('for who needs what the control topic tells of a front that is gone', async () => {
    const broker = new MemoryBroker();
    const { reader, data, control } = withZombie(broker);
    const told = {
      topic_id: data.id,
      value: {
        covered_to: 9,
        steps: [
          [0, 1],
          [2, 2],
        ],
      },
    };
    control.add([recordBody('runs', Buffer.from(JSON.stringify(told)), [])]);
    data.trim(6);
    holdBack(broker, 'eu.control', 0);
    assert.equal(await reader.runBefore(10), 2);
  });

  test('and is told where it takes too long', async () => {
    const broker = new MemoryBroker();
    const { reader } = withZombie(broker);
    broker.throttleMs = () => 3_600_000;
    await assert.rejects(reader.read(0, ALL), { code: 'SYN-L060', message: /quota/ });
  });

  test('and ends with who waited for it', async () => {
    const broker = new MemoryBroker();
    const { reader } = withZombie(broker);
    await reader.read(9, ALL);
    broker.throttleMs = () => 20_000;
    assert.equal(await reader.waitFor(10, 1), false);
    await reader[Symbol.asyncDispose]();
    assert.equal(broker.links.size, 1);
  });
});

describe('a leader that gives out less than the stream had', () => {
  /** From the first fetch on, and up to the one of that number. */
  function behind(broker: MemoryBroker, data: MemoryTopic, until: number): void {
    let fetches = 0;
    broker.beforeAnswer = (what) => {
      if (what === 'fetch') fetches += 1;
      data.givenOutTo = fetches > 0 && fetches < until ? 6 : null;
    };
  }

  test('is asked again until it gives out the rest', async (context) => {
    const broker = new MemoryBroker();
    const { reader, data } = withZombie(broker);
    const time = new PassingTime(context);
    behind(broker, data, 9);
    assert.equal((await time.until(reader.read(6, ALL))).length, 4);
    behind(broker, data, 9);
    assert.equal(await time.until(reader.runBefore(10)), 2);
  });

  test('is a fault where it stays so', async (context) => {
    const broker = new MemoryBroker();
    const { reader, data } = withZombie(broker);
    const time = new PassingTime(context);
    const asked: (() => Promise<unknown>)[] = [
      async () => await reader.read(6, ALL),
      async () => await reader.readBefore(10, ALL),
      async () => await reader.runBefore(10),
    ];
    for (const ask of asked) {
      behind(broker, data, Number.POSITIVE_INFINITY);
      await assert.rejects(time.until(ask()), { code: 'SYN-L060', message: /is not given out/ });
    }
  });
});

describe('what retention takes while it is asked for', () => {
  /** The front moves to 6 once all questions for the ends are answered, and what is known of runs is kept before. */
  function trimmedMeanwhile(broker: MemoryBroker, isKept: boolean): ReturnType<MemoryBroker['stream']> {
    const made = withZombie(broker);
    const { data, control } = made;
    broker.beforeAnswer = (what, topic) => {
      if (what !== 'fetch' || topic !== data.name || data.first > 0) return;
      const told = {
        topic_id: data.id,
        value: {
          covered_to: 9,
          steps: [
            [0, 1],
            [2, 2],
          ],
        },
      };
      if (isKept) control.add([recordBody('runs', Buffer.from(JSON.stringify(told)), [])]);
      data.trim(6);
    };
    return made;
  }

  test('is left out by who reads and who looks back, and all else is there', async () => {
    for (const read of ['read', 'readBefore'] as const) {
      const { reader } = trimmedMeanwhile(new MemoryBroker(), true);
      const records = read === 'read' ? await reader.read(0, ALL) : await reader.readBefore(10, ALL);
      assert.deepEqual(
        records.map(({ offset }) => offset),
        [6, 7, 8, 9],
        read,
      );
    }
  });

  test('has its runs in the control topic, or is missed', async () => {
    const kept = trimmedMeanwhile(new MemoryBroker(), true);
    assert.equal(await kept.reader.runBefore(7), 2);
    const lost = trimmedMeanwhile(new MemoryBroker(), false);
    await assert.rejects(lost.reader.runBefore(7), { code: 'SYN-L070' });
  });
});

describe('who waits at a stream', () => {
  /** Lets all that is ready to go on do so. */
  const rest = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  };

  /** Answers of the broker about ends come once the gate is opened. */
  function gated(broker: MemoryBroker): { open: () => void; asked: () => boolean } {
    const gate = Promise.withResolvers<void>();
    let isAsked = false;
    broker.beforeAnswer = async (what) => {
      if (what !== 'ends') return;
      isAsked = true;
      await gate.promise;
    };
    return { open: gate.resolve, asked: () => isAsked };
  }

  test('is called off also while it is looked where the stream ends', async () => {
    const broker = new MemoryBroker();
    const { reader, data } = broker.stream();
    data.append([runStart(1)]);
    const { open, asked } = gated(broker);
    const calling = new AbortController();
    const waiting = reader.waitFor(1, LONG_MS, calling.signal);
    await waitFor(asked, { what: 'the question for the end' });
    calling.abort();
    open();
    assert.equal(await soon(waiting), false);
    await reader[Symbol.asyncDispose]();
  });

  test('ends with the reader also while it is looked where the stream ends', async () => {
    const broker = new MemoryBroker();
    const { reader, data } = broker.stream();
    data.append([runStart(1)]);
    const { open, asked } = gated(broker);
    const waiting = reader.waitFor(1, LONG_MS);
    await waitFor(asked, { what: 'the question for the end' });
    await reader[Symbol.asyncDispose]();
    open();
    assert.equal(await soon(waiting), false);
  });

  test('is told of no record where the newest of this process is in parts', async () => {
    const { data, shared, reader } = new MemoryBroker().stream();
    data.append([runStart(1), change(1, 1, 0, 0, { note: 'x'.repeat(300_000) })], 70_000);
    assert.ok(data.end > 4);
    shared.appended(
      0,
      Array.from({ length: data.end }, () => ({ run: 1 })),
      1,
    );
    const records = await reader.read(0, ALL);
    assert.deepEqual([records.length, records.at(-1)?.offset], [2, 1]);
    assert.equal(await reader.waitFor(1, 0), true);
    assert.equal(await reader.waitFor(2, 0), false);
    await reader[Symbol.asyncDispose]();
  });

  test('leaves no connection behind where two begin to follow at the same time', async () => {
    const broker = new MemoryBroker();
    const { reader, data } = broker.stream();
    data.append([runStart(1)]);
    const { open, asked } = gated(broker);
    const called = AbortSignal.abort();
    const calling = new AbortController();
    const waiting = [reader.waitFor(1, LONG_MS, calling.signal), reader.waitFor(1, LONG_MS, calling.signal)];
    await waitFor(asked, { what: 'the question for the end' });
    open();
    await rest();
    calling.abort();
    assert.deepEqual(await soon(Promise.all(waiting)), [false, false]);
    assert.equal(await reader.waitFor(1, LONG_MS, called), false);
    await reader[Symbol.asyncDispose]();
    await rest();
    assert.equal(broker.links.size, 1);
  });
});
