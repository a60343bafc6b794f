import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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
import { hlcFromMicros, hlcFromText } from '../../change/hlc.ts';
import { makePosition } from '../../change/position.ts';
import { type LogRecord, parseChange, parseHeartbeat } from '../../change/stream-record.ts';
import { NotesLedger } from '../../clock/notes-ledger.ts';
import { Stability } from '../../clock/stability.ts';
import type { RowChange } from './decoded-transaction.ts';
import type { StreamTail } from './publisher.ts';

/** A log in memory that acknowledges appends when told to. */
class ManualLog {
  readonly appends: (readonly LogRecord[])[] = [];
  readonly #waiting: PromiseWithResolvers<number>[] = [];

  append(records: readonly LogRecord[]): Promise<number> {
    this.appends.push(records);
    const deferred = Promise.withResolvers<number>();
    this.#waiting.push(deferred);
    return deferred.promise;
  }

  async acknowledge(): Promise<void> {
    this.#waiting.shift()?.resolve(0);
    await new Promise(setImmediate);
  }

  async refuse(error: Error): Promise<void> {
    this.#waiting.shift()?.reject(error);
    await new Promise(setImmediate);
  }
}

const changes = (records: readonly LogRecord[]): ChangeEvent[] =>
  records.filter(({ kind }) => kind === 'change').map(({ value }) => parseChange(value));

describe('a published transaction', () => {
  test('is one record per change, with exactly the public fields in their order', async () => {
    const ledger = new NotesLedger();
    const usPosition = makePosition(EPOCH, 7n);
    const note = { seen: { us: usPosition }, max_hlc: hlcFromMicros(5n) };
    ledger.batchCommitted(ledger.batchStarts(), 90n, note, 90n);
    const { publisher, records, confirmed } = make({ ledger });
    const transaction = sent(1, [
      change('1'),
      change('1', { operation: 'UPDATE', before: { id: '1', note: 'a' }, after: { id: '2', note: null } }),
      change('2', { operation: 'DELETE', before: { id: '2', note: null }, after: null }),
      change('', { operation: 'TRUNCATE', after: null }),
    ]);
    await send(publisher, transaction);
    await publisher.durable();

    const events = changes(records);
    assert.deepEqual(JSON.parse(records[1]?.value ?? ''), {
      event_id: events[1]?.event_id,
      region_id: 'eu',
      schema_name: 'public',
      table_name: 't',
      row_pk: { id: '2' },
      operation: 'UPDATE',
      before_image: { id: '1', note: 'a' },
      after_image: { id: '2', note: null },
      committed_at: '2023-11-14T22:13:20.000001Z',
      hlc_timestamp: '1740800000000001024',
      region_tags: ['eu'],
      transaction: {
        id: 701,
        epoch: EPOCH,
        commit_lsn: '0/64',
        index: 1,
        last: false,
        predecessor: null,
        seen: { us: usPosition },
      },
    });
    assert.equal(
      Object.keys(events[1] ?? {}).join(' '),
      'event_id region_id schema_name table_name row_pk operation before_image after_image' +
        ' committed_at hlc_timestamp region_tags transaction',
    );
    assert.deepEqual(
      events.map(({ row_pk }) => row_pk),
      [{ id: '1' }, { id: '2' }, { id: '2' }, {}],
    );
    assert.deepEqual(
      records.map(({ index, last, position, run }) => [index, last, position, run]),
      [0, 1, 2, 3].map((index) => [index, index === 3, makePosition(EPOCH, 100n), 1]),
    );
    assert.match(events[0]?.event_id ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(new Set(events.map(({ event_id }) => event_id)).size, 4);
    assert.deepEqual(confirmed, [150n]);
  });

  test('names its predecessor; heartbeats are part of the chain, empty transactions are not', async () => {
    const { publisher, records, confirmed } = make({ predecessor: makePosition(EPOCH, 3n) });
    await send(publisher, sent(1, [change('1')]));
    await send(publisher, sent(2, []));
    await send(publisher, sent(3, [], { members: ['eu', 'us'] }));
    await send(publisher, sent(4, [change('2')]));
    await publisher.durable();
    const [first, second, third] = records;
    assert.equal(records.length, 3);
    assert.equal(parseChange(first?.value ?? '').transaction.predecessor, makePosition(EPOCH, 3n));
    const heartbeat = parseHeartbeat(second?.value ?? '');
    assert.equal(heartbeat.predecessor, makePosition(EPOCH, 100n));
    assert.deepEqual(heartbeat.members, ['eu', 'us']);
    assert.equal(parseChange(third?.value ?? '').transaction.predecessor, makePosition(EPOCH, 300n));
    assert.deepEqual(confirmed, [150n, 250n, 350n, 450n]);
  });

  test('a heartbeat promises below its own stamp and states the floor of what it has seen', async () => {
    const ledger = new NotesLedger();
    const usPosition = makePosition(EPOCH, 9n);
    ledger.batchCommitted(ledger.batchStarts(), 50n, { seen: { us: usPosition }, max_hlc: 0n }, 50n);
    const stability = new Stability(REGION, ['us']);
    stability.applied('us', usPosition, hlcFromMicros(START_MICROS));
    stability.applied(REGION, makePosition(EPOCH, 10n), hlcFromMicros(START_MICROS + 1n));
    const { publisher, records } = make({ ledger, stability });
    await send(publisher, sent(200_000, [], { members: [REGION] }));
    await publisher.durable();
    const heartbeat = parseHeartbeat(records[0]?.value ?? '');
    assert.equal(heartbeat.hlc, hlcFromMicros(START_MICROS + 200_000n));
    assert.equal(heartbeat.promise, hlcFromMicros(START_MICROS + 100_000n));
    assert.equal(heartbeat.floor, hlcFromMicros(START_MICROS - 100_000n));
    assert.deepEqual(heartbeat.seen, { us: usPosition });
  });

  test('waits for a batch in flight that might be noted below it', async () => {
    const ledger = new NotesLedger();
    const batch = ledger.batchStarts();
    const { publisher, records } = make({ ledger });
    await publisher.begin(sent(1, []));
    await publisher.change(change('1'));
    const commit = publisher.commit(150n);
    await new Promise(setImmediate);
    assert.equal(records.length, 0);
    const seen = { us: makePosition(EPOCH, 5n) };
    ledger.batchCommitted(batch, 99n, { seen, max_hlc: 0n }, 99n);
    await commit;
    assert.deepEqual(changes(records)[0]?.transaction.seen, seen);
  });

  test('rows are stamped above earlier ones of the same key, also by the key that an UPDATE left', async () => {
    const { publisher, records } = make();
    const late = START_MICROS + 50n;
    const moved = change('2', { operation: 'UPDATE', before: { id: '1', note: '' }, after: { id: '2', note: '' } });
    await send(publisher, sent(1, [moved], { commitMicros: late }));
    await send(publisher, sent(2, [change('1')], { commitMicros: START_MICROS }));
    await send(publisher, sent(3, [change('2')], { commitMicros: START_MICROS }));
    await send(publisher, sent(4, [change('3')], { commitMicros: START_MICROS }));
    const loose = (text: string): RowChange => change(text, { table: 'loose', looseKey: true });
    await send(publisher, sent(5, [loose('1.0')], { commitMicros: late }));
    await send(publisher, sent(6, [loose('1.00')], { commitMicros: START_MICROS }));
    await publisher.durable();
    const own = hlcFromMicros(late);
    assert.deepEqual(
      changes(records).map(({ hlc_timestamp }) => hlcFromText(hlc_timestamp)),
      [own, own + 1n, own + 1n, hlcFromMicros(START_MICROS), own, own + 1n],
    );
  });

  test('a row that is too large for a record stops the publisher before anything of it is confirmed', async () => {
    const { publisher, records, confirmed } = make({ limits: { record_bytes_max: 2_000 } });
    await send(publisher, sent(1, [change('1')]));
    const fits = change('2', { after: { id: '2', note: 'é'.repeat(600) } });
    await send(publisher, sent(2, [fits]));
    const large = change('3', { after: { id: '3', note: 'é'.repeat(1_000) } });
    await assert.rejects(send(publisher, sent(3, [large])), hasCode('SYN-K007'));
    await assert.rejects(send(publisher, sent(4, [change('4')])), hasCode('SYN-K007'));
    assert.ok(publisher.failed.aborted);
    assert.equal(records.length, 2);
    assert.deepEqual(confirmed, [150n, 250n]);
  });

  test('a change without its key is refused', async () => {
    const { publisher } = make();
    const keyless = change('1', { operation: 'DELETE', before: { note: 'x' }, after: null });
    await assert.rejects(send(publisher, sent(1, [keyless])), hasCode('SYN-K008'));
  });
});

describe('a transaction beyond the bound', () => {
  const limits = { transaction_rows_max: 3, append_rows_max: 2 };

  test('streams out in appends of bounded size, and only its last event says so', async () => {
    const log = new ManualLog();
    const { publisher, confirmed } = make({ writer: log, limits });
    await publisher.begin(sent(1, []));
    let waits = 0;
    for (let id = 0; id < 20; id += 1) {
      const wait = publisher.change(change(String(id)));
      if (wait === undefined) continue;
      waits += 1;
      let isOver = false;
      void wait.then(() => {
        isOver = true;
      });
      await new Promise(setImmediate);
      while (!isOver) await log.acknowledge();
    }
    const commit = publisher.commit(150n);
    assert.deepEqual(confirmed, []);
    const durable = publisher.durable();
    for (let append = 0; append < 20; append += 1) await log.acknowledge();
    await commit;
    await durable;
    const records = log.appends.flat();
    assert.ok(waits > 5);
    assert.ok(log.appends.every((append) => append.length <= 4));
    assert.deepEqual(
      records.map(({ index, last }) => [index, last]),
      Array.from({ length: 20 }, (_, index) => [index, index === 19]),
    );
    assert.equal(new Set(changes(records).map(({ hlc_timestamp }) => hlc_timestamp)).size, 1);
    assert.deepEqual(confirmed, [150n]);
  });

  test('what follows is stamped above it in every table that it came to', async () => {
    const { publisher, records } = make({ limits });
    const late = START_MICROS + 50n;
    const rows = [0, 1, 2, 3, 4].map((id) => change(String(id)));
    await send(publisher, sent(1, [...rows, change('1', { table: 'u' })], { commitMicros: late }));
    await send(publisher, sent(2, [change('77', { table: 'u' })], { commitMicros: START_MICROS }));
    await send(publisher, sent(3, [change('77', { table: 'v' })], { commitMicros: START_MICROS }));
    await publisher.durable();
    const stamps = changes(records).map(({ hlc_timestamp }) => hlcFromText(hlc_timestamp));
    assert.deepEqual(stamps.slice(-2), [hlcFromMicros(late) + 1n, hlcFromMicros(START_MICROS)]);
  });
});

describe('durability', () => {
  test('transactions share the append after the one in flight, and are confirmed in order behind it', async () => {
    const log = new ManualLog();
    const { publisher, confirmed } = make({ writer: log });
    for (let place = 1; place <= 4; place += 1) await send(publisher, sent(place, [change(String(place))]));
    await send(publisher, sent(5, []));
    assert.deepEqual(
      log.appends.map((append) => append.length),
      [1],
    );
    assert.deepEqual(confirmed, []);
    await log.acknowledge();
    assert.deepEqual(confirmed, [150n]);
    assert.deepEqual(
      log.appends.map((append) => append.length),
      [1, 3],
    );
    await log.acknowledge();
    assert.deepEqual(confirmed, [150n, 550n]);
  });

  test('too much that waits holds back whoever commits', async () => {
    const log = new ManualLog();
    const { publisher } = make({ writer: log, limits: { append_rows_max: 2 } });
    await send(publisher, sent(1, [change('1')]));
    await send(publisher, sent(2, [change('2')]));
    let isThrough = false;
    const third = send(publisher, sent(3, [change('3')])).then(() => {
      isThrough = true;
    });
    await new Promise(setImmediate);
    assert.equal(isThrough, false);
    await log.acknowledge();
    await third;
  });

  test('a failed append ends the publisher with that error, and confirms nothing more', async () => {
    const log = new ManualLog();
    const { publisher, confirmed } = make({ writer: log });
    await send(publisher, sent(1, [change('1')]));
    await send(publisher, sent(2, [change('2')]));
    await log.refuse(new Error('disk full'));
    assert.equal((publisher.failed.reason as Error).message, 'disk full');
    await assert.rejects(send(publisher, sent(3, [change('3')])), /disk full/);
    await assert.rejects(publisher.durable(), /disk full/);
    assert.equal(log.appends.length, 1);
    assert.deepEqual(confirmed, []);
  });

  test('an end is not held up by a batch of which nobody knows how it ended', async () => {
    const ledger = new NotesLedger();
    ledger.batchStarts();
    const { publisher, records } = make({ ledger });
    const sending = send(publisher, sent(1, [change('1')]));
    await new Promise(setImmediate);
    publisher.end(new Error('the agent stops'));
    await assert.rejects(sending, /the agent stops/);
    assert.deepEqual(records, []);
  });

  test('a deferred start lets everything that has arrived share one append', async () => {
    const log = new ManualLog();
    const { publisher } = make({ writer: log, defer: setImmediate });
    for (let place = 1; place <= 4; place += 1) await send(publisher, sent(place, [change(String(place))]));
    await log.acknowledge();
    assert.deepEqual(
      log.appends.map((append) => append.length),
      [4],
    );
  });
});

const tailOf = (transaction: Sent, more: Partial<StreamTail> = {}): StreamTail => ({
  position: makePosition(EPOCH, transaction.lsn),
  xid: transaction.xid,
  committed_at: new Date(Number(transaction.commitMicros / 1000n))
    .toISOString()
    .replace('Z', `${String(transaction.commitMicros % 1000n).padStart(3, '0')}Z`),
  ...more,
});

describe('at a restart', () => {
  const history = [1, 2, 3, 4].map((place) => sent(place, [change(String(place))]));
  const [first, second, third, fourth] = history as [Sent, Sent, Sent, Sent];

  test('what the stream holds is skipped, and confirmed once its last transaction was met', async () => {
    const resumeAfter = tailOf(second);
    const { publisher, records, confirmed } = make({ resumeAfter, predecessor: resumeAfter.position });
    await send(publisher, first);
    assert.deepEqual(confirmed, []);
    await send(publisher, second);
    assert.deepEqual(confirmed, [250n]);
    await send(publisher, third);
    await publisher.durable();
    assert.deepEqual(
      changes(records).map(({ row_pk }) => row_pk.id),
      ['3'],
    );
    assert.equal(changes(records)[0]?.transaction.predecessor, resumeAfter.position);
  });

  test('another transaction at the last position is another history', async () => {
    for (const more of [{ xid: 1 }, { committed_at: '2024-01-01T00:00:00.000000Z' }]) {
      const { publisher, confirmed } = make({ resumeAfter: tailOf(second, more) });
      await send(publisher, first);
      await assert.rejects(send(publisher, second), hasCode('SYN-K009'));
      assert.deepEqual(confirmed, []);
    }
  });

  test('a heartbeat at the end of the stream is known by its time alone', async () => {
    const { publisher, records } = make({ resumeAfter: tailOf(second, { xid: null }) });
    for (const each of history) await send(publisher, each);
    assert.equal(records.length, 2);
  });

  test('the last position may be left out only where the slot had confirmed it', async () => {
    const { publisher } = make({ resumeAfter: tailOf(second), confirmedLsn: second.lsn });
    await send(publisher, first);
    await assert.rejects(send(publisher, third), hasCode('SYN-K009'));

    const behind = make({ resumeAfter: tailOf(second), confirmedLsn: endOf(second) });
    await send(behind.publisher, third);
    await send(behind.publisher, fourth);
    await behind.publisher.durable();
    assert.equal(behind.records.length, 2);
  });

  test('a transaction out of order is no stream', async () => {
    const { publisher } = make();
    await send(publisher, second);
    await assert.rejects(send(publisher, second), hasCode('SYN-K006'));
  });
});
