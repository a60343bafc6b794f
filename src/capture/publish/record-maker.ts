/**
 * Makes the records of a stamped transaction: what is the same in all of its events is made once.
 *
 * Everything in a record follows from the WAL, the notes and the stamp. Nothing is random and no clock is read, so the
 * same transaction gives the same bytes whenever it is published again.
 */
import { type ChangeEvent, microsToIso, type TransactionInfo } from '../../change/change-event.ts';
import { eventId } from '../../change/event-id.ts';
import { type Hlc, hlcToText } from '../../change/hlc.ts';
import { type Epoch, lsnToText, type Position, type Seen } from '../../change/position.ts';
import { type Heartbeat, heartbeatRecord, type LogRecord } from '../../change/stream-record.ts';
import { fail } from '../../platform/errors.ts';
import type { RowChange, TransactionBegin } from './decoded-transaction.ts';
import { rowPk } from './row-identity.ts';

type Origin = { readonly region: string; readonly run: number; readonly epoch: Epoch };

type Stamped = {
  readonly begin: TransactionBegin;
  readonly hlc: Hlc;
  readonly position: Position;
  readonly predecessor: Position | null;
  readonly seen: Seen;
  /** The commit timestamp that PostgreSQL has, where another tool gave it. */
  readonly statedMicros?: bigint;
};

/** A UTF-16 unit becomes three bytes of UTF-8 at most. */
const BYTES_PER_CHARACTER_MAX = 3;

export class RecordMaker {
  readonly #origin: Origin;
  readonly #bytesMax: number;
  readonly #tags: readonly string[];
  /** Transactions between two batches of apply have seen the same. */
  #lastSeen: Seen = {};
  #lastSorted: Seen = {};

  constructor(origin: Origin, bytesMax: number) {
    this.#origin = origin;
    this.#bytesMax = bytesMax;
    this.#tags = [origin.region];
  }

  transaction(stamped: Stamped): StampedTransaction {
    return new StampedTransaction(this.#origin, this.#tags, { ...stamped, seen: this.#sorted(stamped.seen) });
  }

  /** The record, if it can be one: the log, the readers and the engine's strings have a limit. */
  checked(make: () => LogRecord, { schema, table }: RowChange): LogRecord {
    let record: LogRecord;
    try {
      record = make();
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw this.#tooLarge(`${schema}.${table}`, 'more than any string can hold', cause);
    }
    const { length } = record.value;
    if (length * BYTES_PER_CHARACTER_MAX > this.#bytesMax) {
      const bytes = length > this.#bytesMax ? length : Buffer.byteLength(record.value);
      if (bytes > this.#bytesMax) throw this.#tooLarge(`${schema}.${table}`, `at least ${bytes} bytes`, undefined);
    }
    return record;
  }

  #tooLarge(table: string, size: string, cause: unknown): Error {
    const detail = `a change of a row of ${table} takes ${size} as a record; the limit is ${this.#bytesMax} bytes`;
    return fail('SYN-K007', detail, { cause, context: { table, bytesMax: this.#bytesMax } });
  }

  /** The order in which origins were heard of must not show in the bytes. */
  #sorted(seen: Seen): Seen {
    if (seen !== this.#lastSeen) {
      this.#lastSeen = seen;
      this.#lastSorted = Object.fromEntries(Object.entries(seen).sort(([a], [b]) => (a < b ? -1 : 1)));
    }
    return this.#lastSorted;
  }
}

export class StampedTransaction {
  readonly hlc: Hlc;
  readonly position: Position;
  readonly seen: Seen;
  readonly #origin: Origin;
  readonly #tags: readonly string[];
  readonly #predecessor: Position | null;
  readonly #committedAt: string;
  readonly #hlcText: string;
  readonly #info: Omit<TransactionInfo, 'index' | 'last' | 'predecessor' | 'seen'>;
  #index = 0;

  constructor(
    origin: Origin,
    tags: readonly string[],
    { begin, hlc, position, predecessor, seen, statedMicros }: Stamped,
  ) {
    this.hlc = hlc;
    this.position = position;
    this.seen = seen;
    this.#origin = origin;
    this.#tags = tags;
    this.#predecessor = predecessor;
    this.#committedAt = microsToIso(begin.commitMicros);
    this.#hlcText = hlcToText(hlc);
    const stated = statedMicros === undefined ? {} : { stated_micros: String(statedMicros) };
    this.#info = { id: begin.xid, epoch: origin.epoch, commit_lsn: lsnToText(begin.lsn), ...stated };
  }

  /** The next event of the transaction. */
  event(change: RowChange, isLast: boolean): ChangeEvent {
    const { region } = this.#origin;
    const index = this.#index;
    this.#index += 1;
    return {
      event_id: eventId(this.hlc, region, this.position, index),
      region_id: region,
      schema_name: change.schema,
      table_name: change.table,
      row_pk: rowPk(change),
      operation: change.operation,
      before_image: change.before,
      after_image: change.after,
      committed_at: this.#committedAt,
      hlc_timestamp: this.#hlcText,
      region_tags: this.#tags,
      ...(change.operator === true ? { operator: true } : {}),
      ...(change.claim === undefined ? {} : { claim: change.claim }),
      ...(change.merge === undefined ? {} : { merge: change.merge }),
      ...(change.merge_shadow === undefined ? {} : { merge_shadow: change.merge_shadow }),
      transaction: {
        ...this.#info,
        index,
        last: isLast,
        predecessor: this.#predecessor,
        seen: this.seen,
      },
    };
  }

  heartbeat(state: Pick<Heartbeat, 'promise' | 'floor' | 'members' | 'delays_ms' | 'merges' | 'claims'>): LogRecord {
    return heartbeatRecord(this.#origin.run, {
      event_id: eventId(this.hlc, this.#origin.region, this.position, 0),
      region_id: this.#origin.region,
      position: this.position,
      predecessor: this.#predecessor,
      hlc: this.hlc,
      xid: this.#info.id,
      committed_at: this.#committedAt,
      seen: this.seen,
      promise: state.promise,
      floor: state.floor,
      members: state.members,
      delays_ms: state.delays_ms,
      merges: state.merges,
      claims: state.claims,
    });
  }
}
