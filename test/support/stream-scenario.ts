// A small stream that has one of everything that records can tell, published by the real publisher from a WAL that never
// changes: so what comes out is the format of records itself, word for word.

import { makePosition } from '../../src/change/position.ts';
import {
  baselineRecord,
  changeRecord,
  type LogRecord,
  parseChange,
  runRecord,
} from '../../src/change/stream-record.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { encodeRecord } from '../../src/log/kafka/kafka-record.ts';
import { change, EPOCH, endOf, make, REGION, START_MICROS, send, sent } from './made-publisher.ts';

/** Small, so that a value of some kilobytes already comes in parts. */
const BATCH_BYTES_MAX = 4_000;
const RUN = 3;

/** The stream, as any log is given it. */
export async function scenarioRecords(): Promise<LogRecord[]> {
  const ledger = new NotesLedger();
  const us = makePosition(EPOCH, 9n);
  ledger.batchCommitted(ledger.batchStarts(), 350n, { seen: { us }, max_hlc: 0n }, 350n);
  const { publisher, records } = make({ run: RUN, ledger });
  await send(publisher, sent(1, [change('1'), change('2', { after: { id: '2', note: null } })]));
  const update = { operation: 'UPDATE', before: { id: '1', note: 'note 1' } } as const;
  await send(
    publisher,
    sent(2, [
      change('1', { ...update, after: { id: '10', note: 'grüße 語 🙂 "quoted"\n' } }),
      change('2', { operation: 'DELETE', before: { id: '2', note: null }, after: null }),
    ]),
  );
  await send(publisher, sent(3, [], { members: [REGION, 'us'] }));
  await send(publisher, sent(4, [change('', { operation: 'TRUNCATE', key: [], after: null })]));
  const rule = { merge: 'a'.repeat(64), merge_shadow: 'b'.repeat(64) };
  await send(publisher, sent(5, [change('3', rule), change('4', { operator: true })]));
  const stated = sent(6, [change('5')], { commitMicros: START_MICROS - 3_600_000_000n });
  await publisher.begin(stated);
  publisher.foreignOrigin();
  for (const row of stated.rows) await publisher.change(row);
  await publisher.commit(endOf(stated));
  await send(publisher, sent(7, [change('6', { after: { id: '6', note: 'x'.repeat(9_000) } })]));
  const beat = sent(8, []);
  await publisher.begin(beat);
  publisher.heartbeat({ members: [REGION, 'us'], delays_ms: { us: 12.5 }, merges: true });
  await publisher.commit(endOf(beat));
  await publisher.durable();
  const opened = { region_id: REGION, run: RUN, epoch: EPOCH, opened_at: '2026-01-01T00:00:00.000Z', forked_at: us };
  return [runRecord(opened), heldBefore(), ...records];
}

/** The same as Kafka stores them, without what is of a batch. */
export function kafkaBodies(records: readonly LogRecord[]): Buffer[] {
  let splits = 0;
  return records.flatMap((record) =>
    encodeRecord(record, BATCH_BYTES_MAX, () => {
      splits += 1;
      return `split ${splits}`;
    }),
  );
}

function heldBefore(): LogRecord {
  const table = {
    schema_name: 'public',
    table_name: 't',
    columns: ['id', 'note'],
    rows: 2,
    parts: { '17': [2, 'c'.repeat(32)] as [number, string] },
    untold: null,
  };
  return baselineRecord(RUN, { region_id: REGION, epoch: EPOCH, trusted: false, tables: [table], untold: null });
}

/** The record with fields that this version knows nothing of, at every place where a later one may put some. */
export function withMoreFields(record: LogRecord): LogRecord {
  if (record.kind !== 'change') {
    return { ...record, value: JSON.stringify({ added: { to: ['it'] }, ...JSON.parse(record.value) }) };
  }
  const event = parseChange(record.value);
  const more = { ...event, added: 1, transaction: { ...event.transaction, added: null } };
  return changeRecord(record.run, record.position ?? makePosition(EPOCH, 0n), more);
}
