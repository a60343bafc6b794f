// The real lane of a region over a real database, fed with transactions that a test makes.

import { Lane } from '../../src/apply/lane/lane.ts';
import type { RetryOutcome } from '../../src/apply/lane/quarantine-retry.ts';
import type { LaneItem } from '../../src/apply/lane-item.ts';
import { type ChangeEvent, type Image, microsToIso } from '../../src/change/change-event.ts';
import { eventId } from '../../src/change/event-id.ts';
import { type Hlc, hlcFromMicros, hlcToText } from '../../src/change/hlc.ts';
import { lsnToText, makePosition, type Position } from '../../src/change/position.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { Stability } from '../../src/clock/stability.ts';
import { ApplyTarget } from './apply-target.ts';
import { madeEvent } from './made-event.ts';
import type { PostgresServer } from './postgres-server.ts';

const EPOCH = '0000000000000000001';
/** Some time ago, so that nothing waits for its clock. */
const BEGAN_MICROS = 1_700_000_000_000_000n;

/** One change: an INSERT of an image, an UPDATE from one to another, a DELETE, a row that is told under the n-th stamp, or a TRUNCATE. */
export type MadeChange =
  | { readonly insert: Image }
  | { readonly update: Image; readonly to: Image }
  | { readonly remove: Image }
  | { readonly tell: Image; readonly n: number }
  | 'truncate';

/** Rows are told as of tables that were sealed by that one. */
const SEALED = 1_000;

/** The stamp of a transaction that is told to be the n-th. */
export const stampOf = (n: number): Hlc => hlcFromMicros(BEGAN_MICROS + BigInt(n) * 1_000n);

export class LaneTarget implements AsyncDisposable {
  readonly target: ApplyTarget;
  readonly lane: Lane;
  readonly #tails = new Map<string, Position>();
  #lsn = 100n;

  private constructor(target: ApplyTarget, lane: Lane) {
    this.target = target;
    this.lane = lane;
  }

  /** A region `home` that applies what `eu` and `ap` do. */
  static async start(server: PostgresServer, schema: string): Promise<LaneTarget> {
    const target = await ApplyTarget.start(server);
    await target.client.query(schema);
    const ledger = new NotesLedger();
    ledger.reset({ rows: [], end: 0n });
    const lane = new Lane(target.port, ledger, new Stability('home', ['eu', 'ap']), {
      region: 'home',
      onError: 'quarantine',
      isReplicated: () => true,
      eventAt: async () => null,
    });
    await lane.open();
    return new LaneTarget(target, lane);
  }

  /** A transaction of that region, the n-th of all by its stamp. */
  async apply(origin: string, n: number, table: string, changes: readonly MadeChange[]): Promise<void> {
    await this.together(origin, table, [[n, changes]]);
  }

  /** Several of them, in one batch. */
  async together(
    origin: string,
    table: string,
    transactions: readonly (readonly [n: number, changes: readonly MadeChange[]])[],
  ): Promise<void> {
    const items = transactions.map(([n, changes]) => this.#item(origin, n, table, changes));
    await this.lane.apply(origin, items);
  }

  #item(origin: string, n: number, table: string, changes: readonly MadeChange[]): LaneItem {
    this.#lsn += 10n;
    const position = makePosition(EPOCH, this.#lsn);
    const predecessor = this.#tails.get(origin) ?? null;
    this.#tails.set(origin, position);
    const hlc = stampOf(n);
    const committed_at = microsToIso(BEGAN_MICROS + BigInt(n) * 1_000n);
    const events = changes.map((change, index): ChangeEvent => {
      const last = index === changes.length - 1;
      const commit_lsn = lsnToText(this.#lsn);
      return madeEvent(origin, hlc, {
        ...toEvent(change),
        event_id: eventId(hlc, origin, position, index),
        table_name: table,
        committed_at,
        hlc_timestamp: hlcToText(hlc),
        transaction: { id: 7, epoch: EPOCH, commit_lsn, index, last, predecessor, seen: {} },
      });
    });
    const source = { position, hlc, seen: {}, xid: 7, committed_at, events };
    const event_id = events.at(-1)?.event_id ?? '';
    const log_offset = Number(this.#lsn);
    return { kind: 'transaction', position, predecessor, log_offset, event_id, source };
  }

  /** Events in the quarantine: the operation, the row's `id` (null for all rows), and the code of the error. */
  async setAside(): Promise<(string | null)[][]> {
    const { rows } = await this.target.client.queryArrays(
      `select event->>'operation', row_pk->>'id', sqlstate from syncline.quarantine order by hlc, event->'transaction'->>'index'`,
    );
    return rows.map((row) => row.map((value) => value ?? null));
  }

  /** Tries those events again; all, if it is not said which. Returns the codes of their errors, null for what is applied. */
  async retry(where = 'true'): Promise<(string | null)[]> {
    const ids = await this.target.column(
      `select event_id from syncline.quarantine where ${where} order by hlc, event->'transaction'->>'index'`,
    );
    const outcomes = await this.lane.retry(ids.map((id) => id ?? ''));
    return outcomes.map(({ error }: RetryOutcome) =>
      error === null ? null : ((error as { code?: string }).code ?? 'none'),
    );
  }

  async rows(query: string): Promise<(string | null)[][]> {
    return (await this.target.client.queryArrays(query)).rows.map((row) => row.map((value) => value ?? null));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.target[Symbol.asyncDispose]();
  }
}

type MadeFields = Pick<ChangeEvent, 'operation' | 'row_pk' | 'before_image' | 'after_image' | 'claim'>;

function toEvent(change: MadeChange): MadeFields {
  if (change === 'truncate') return { operation: 'TRUNCATE', row_pk: {}, before_image: null, after_image: null };
  const keyOf = (image: Image): Image => ({ id: image.id ?? null });
  if ('insert' in change)
    return { operation: 'INSERT', row_pk: keyOf(change.insert), before_image: null, after_image: change.insert };
  if ('tell' in change) {
    const claim = { version: hlcToText(stampOf(change.n)), since: hlcToText(stampOf(SEALED)) };
    return { operation: 'INSERT', row_pk: keyOf(change.tell), before_image: null, after_image: change.tell, claim };
  }
  if ('remove' in change)
    return { operation: 'DELETE', row_pk: keyOf(change.remove), before_image: change.remove, after_image: null };
  return { operation: 'UPDATE', row_pk: keyOf(change.to), before_image: change.update, after_image: change.to };
}
