/**
 * The lane: everything that a region applies goes through here in turn, in one connection.
 *
 * Two applied writes never race each other, only the foreground. (With one connection per link, a delete and an older
 * upsert of one absent row can cross, and regions fork.) The lane owns the marks and tells the ledger of every batch
 * before its note can exist, so that capture never stamps a transaction from a guess.
 *
 * A batch is as many whole source transactions of one origin as are waiting. It is tried set by set; where that runs
 * into a constraint it is replayed transaction by transaction, change by change, and only an event that fails even then
 * is quarantined.
 */
import type { ChangeEvent, Image } from '../change/change-event.ts';
import { type Hlc, hlcMicrosCeil } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import { rowKey } from '../change/row-key.ts';
import type { Heartbeat } from '../change/stream-record.ts';
import type { BatchToken, NotesLedger } from '../clock/notes-ledger.ts';
import type { Stability } from '../clock/stability.ts';
import { isDataFault as blamesData, fail, isInfrastructure, SynclineError, sqlStateOf } from '../platform/errors.ts';
import type { ApplyPort, ApplyTransaction, Mark, QuarantineEntry, RowKey, TableShape } from './apply-port.ts';
import { BatchWriter } from './batch-writer.ts';
import { echoGuard, remoteGuard } from './decide.ts';
import { EchoWriter } from './echo-writer.ts';
import { LookAgainRunner } from './look-again.ts';
import {
  currentKey,
  formerKey,
  type KeyOf,
  planBatch,
  type ShapeOf,
  type SourceTransaction,
  type Step,
} from './net-change.ts';
import { RecentEvents } from './recent-events.ts';

export type LaneItem =
  | {
      readonly kind: 'transaction';
      readonly position: Position;
      readonly predecessor: Position | null;
      readonly log_offset: number;
      readonly event_id: string;
      readonly source: SourceTransaction;
    }
  | {
      readonly kind: 'giant';
      readonly position: Position;
      readonly predecessor: Position | null;
      readonly log_offset: number;
      readonly event_id: string;
      readonly source: SourceTransaction;
      chunks(): AsyncIterable<readonly ChangeEvent[]>;
    }
  | {
      readonly kind: 'heartbeat';
      readonly position: Position;
      readonly predecessor: Position | null;
      readonly log_offset: number;
      readonly event_id: string;
      readonly heartbeat: Heartbeat;
    };

export type OnError = 'quarantine' | 'stop';

export type LaneOptions = {
  readonly region: string;
  readonly onError: OnError;
  /** Whether this region replicates the table at all; events of others pass by. */
  readonly isReplicated: (schema: string, table: string) => boolean;
  readonly onApplied?: (report: AppliedReport) => void;
};

export type AppliedReport = {
  readonly origin: string;
  readonly events: number;
  readonly written: number;
  readonly conflicts: { readonly [table: string]: number };
  readonly quarantined: number;
};

type Poison = { readonly sqlstate: string; readonly error: string };

export class Lane {
  readonly #port: ApplyPort;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  readonly #options: LaneOptions;
  readonly #marks = new Map<string, Mark>();
  readonly #quarantined = new Map<string, Set<RowKey>>();
  readonly #looks: LookAgainRunner;
  #recent = new RecentEvents();
  /** Own events below this WAL position may have been overwritten by batches that this lane does not remember. */
  #unrememberedLsn = 0n;

  constructor(port: ApplyPort, ledger: NotesLedger, stability: Stability, options: LaneOptions) {
    this.#port = port;
    this.#ledger = ledger;
    this.#stability = stability;
    this.#options = options;
    this.#looks = new LookAgainRunner(port, stability);
  }

  /** Reads where the database stands. The ledger must hold the database's notes by now. */
  async open(): Promise<void> {
    this.#marks.clear();
    this.#recent = new RecentEvents();
    this.#quarantined.clear();
    for (const mark of await this.#port.loadMarks()) {
      this.#marks.set(mark.origin, mark);
      this.#recent.startsAfter(mark.origin, mark.position);
    }
    this.#unrememberedLsn = this.#ledger.newestLsn;
  }

  mark(origin: string): Mark | undefined {
    return this.#marks.get(origin);
  }

  /** Marks of all origins, the own stream's included. */
  get marks(): Seen {
    return Object.fromEntries([...this.#marks].map(([origin, mark]) => [origin, mark.position]));
  }

  /**
   * Applies items of one origin, which follow one another in its stream. Resolves once they are committed; what is at
   * or below the mark is skipped. Throws infrastructure errors (nothing, or a prefix of whole items, is applied then),
   * SYN-L001 on a gap, and SYN-A005 where an event cannot be applied and `onError` is `stop`.
   */
  async apply(origin: string, items: readonly LaneItem[]): Promise<void> {
    const fresh = this.#fresh(origin, items);
    if (fresh.length === 0) return;
    const giantAt = fresh.findIndex((item) => item.kind === 'giant');
    if (giantAt >= 0 && fresh.length > 1) {
      if (giantAt > 0) await this.apply(origin, fresh.slice(0, giantAt));
      await this.apply(origin, fresh.slice(giantAt, giantAt + 1));
      return await this.apply(origin, fresh.slice(giantAt + 1));
    }
    try {
      await this.#attempt(origin, fresh, new Map(), false);
    } catch (error) {
      if (!isDataFault(error)) throw error;
      this.#port.forgetShapes();
      for (const item of fresh) await this.#applyExactly(origin, item);
    }
  }

  /** Looks again at removals that found no row; returns how many intents were settled. */
  async lookAgain(): Promise<number> {
    return await this.#looks.run(this.#options.region);
  }

  /** Whether every transaction of these own items is visible here, so that they may be echoed. */
  async areVisible(items: readonly LaneItem[]): Promise<boolean> {
    // Visibility follows no order, so each is asked; they are few, and old ones answer at once.
    for (const item of items) {
      if (item.kind !== 'heartbeat' && !(await this.#port.isVisible(item.source.xid))) return false;
    }
    return true;
  }

  /** Applies quarantined events again, each in its own transaction; returns the ids that succeeded. */
  async retry(eventIds: readonly string[]): Promise<string[]> {
    const done: string[] = [];
    this.#port.forgetShapes();
    for (const entry of await this.#port.quarantined(eventIds)) {
      const event = JSON.parse(entry.event) as ChangeEvent;
      const source: SourceTransaction = {
        position: entry.position,
        hlc: entry.hlc,
        seen: event.transaction.seen,
        xid: event.transaction.id,
        committed_at: event.committed_at,
        events: [event],
      };
      const transaction = await this.#port.begin(entry.origin, hlcMicrosCeil(entry.hlc));
      try {
        const steps = await this.#plan(transaction, [source], new Map(), true);
        const writer = this.#writer(transaction, entry.origin, source.seen);
        await writer.write(steps);
        await writer.record(() => new Set());
        await transaction.removeQuarantine([entry.event_id]);
        await transaction.commit();
      } catch (error) {
        await rollback(transaction);
        throw error;
      }
      this.#quarantined.clear();
      done.push(entry.event_id);
    }
    return done;
  }

  async discard(eventIds: readonly string[]): Promise<void> {
    const transaction = await this.#port.begin(this.#options.region, 1n);
    try {
      await transaction.removeQuarantine(eventIds);
      await transaction.commit();
    } catch (error) {
      await rollback(transaction);
      throw error;
    }
    this.#quarantined.clear();
  }

  #fresh(origin: string, items: readonly LaneItem[]): LaneItem[] {
    const fresh: LaneItem[] = [];
    let last: Position | null = this.#marks.get(origin)?.position ?? null;
    for (const item of items) {
      if (last !== null && item.position <= last) continue;
      if (item.predecessor !== last) {
        throw fail('SYN-L001', `the stream of ${origin} goes from ${last ?? 'its start'} to ${item.position}`, {
          context: { origin, mark: last, position: item.position, predecessor: item.predecessor },
        });
      }
      fresh.push(item);
      last = item.position;
    }
    return fresh;
  }

  /** Change by change, setting aside what fails even so. */
  async #applyExactly(origin: string, item: LaneItem): Promise<void> {
    const poisoned = new Map<string, Poison>();
    for (;;) {
      try {
        await this.#attempt(origin, [item], poisoned, true);
        return;
      } catch (error) {
        if (!isDataFault(error)) throw error;
        const culprit = error instanceof EventFailure ? error.event : null;
        if (culprit === null || poisoned.has(culprit.event_id)) throw error;
        if (this.#options.onError === 'stop') {
          throw fail('SYN-A005', `event ${culprit.event_id} on ${culprit.schema_name}.${culprit.table_name}`, {
            cause: error,
            context: { event_id: culprit.event_id, row_pk: culprit.row_pk },
          });
        }
        poisoned.set(culprit.event_id, { sqlstate: sqlStateOf(error) ?? 'XX000', error: messageOf(error) });
      }
    }
  }

  async #attempt(
    origin: string,
    items: readonly LaneItem[],
    poisoned: Map<string, Poison>,
    exact: boolean,
  ): Promise<void> {
    const sources = items.flatMap((item) => (item.kind === 'heartbeat' ? [] : [item.source]));
    let stamp: Hlc = 0n;
    for (const item of items) {
      const hlc = item.kind === 'heartbeat' ? item.heartbeat.hlc : item.source.hlc;
      if (hlc > stamp) stamp = hlc;
    }
    const isEcho = origin === this.#options.region;
    const transaction = await this.#port.begin(origin, hlcMicrosCeil(stamp));
    const writer = this.#writer(transaction, origin, sources[0]?.seen ?? {});
    const remembered: Step[][] = [];
    const quarantine: QuarantineEntry[] = [];
    let token: BatchToken | null = null;
    try {
      for (const item of items) {
        if (item.kind !== 'giant') continue;
        for await (const events of item.chunks()) {
          const chunk = [{ ...item.source, events }];
          const steps = await this.#plan(transaction, chunk, poisoned, exact, quarantine);
          await this.#write(writer, steps, isEcho, exact);
        }
      }
      const normal = sources.filter((source) => source.events.length > 0);
      if (normal.length > 0) {
        const steps = await this.#plan(transaction, normal, poisoned, exact, quarantine);
        await this.#write(writer, steps, isEcho, exact);
        remembered.push(steps);
      }
      const seen = this.#seenAfter(origin, items);
      const known = this.#ledger.newest.max_hlc;
      const max_hlc = !isEcho && stamp > known ? stamp : known;
      const mark = this.#markOf(origin, items);
      const expected = this.#marks.get(origin)?.position ?? null;
      const waiting = new Map<string, ReadonlySet<RowKey>>();
      for (const shape of writer.shapes) waiting.set(shape.id, await this.#waiting(transaction, shape));
      const open = this.#ledger.batchStarts();
      token = open;
      const recorded = writer.record((shape) => waiting.get(shape.id) ?? new Set());
      const sidelined = quarantine.length === 0 ? null : transaction.recordQuarantine(quarantine);
      const advanced = transaction.advanceMark(expected, mark);
      const noted = transaction.note({ origin, seen, max_hlc });
      const noticed = noted.then((note) => this.#ledger.batchNoted(open, note.lsn));
      const [note] = await Promise.all([noted, recorded, sidelined, advanced, noticed, transaction.commit()]);
      this.#ledger.batchCommitted(open, note.lsn, { seen, max_hlc });
      this.#marks.set(origin, mark);
    } catch (error) {
      // Where the connection broke in mid-commit nobody knows the outcome: the batch stays in flight in the ledger
      // until the lane has read the database again.
      if (token === null || isKnownToHaveRolledBack(error)) {
        await rollback(transaction);
        if (token !== null) this.#ledger.batchAborted(token);
      }
      throw error;
    }
    this.#settled(origin, items, writer, remembered, quarantine);
  }

  #settled(
    origin: string,
    items: readonly LaneItem[],
    writer: BatchWriter,
    remembered: readonly Step[][],
    quarantine: readonly QuarantineEntry[],
  ): void {
    let events = 0;
    for (const item of items) {
      const hlc = item.kind === 'heartbeat' ? item.heartbeat.hlc : item.source.hlc;
      this.#stability.applied(origin, item.position, hlc);
      if (item.kind === 'heartbeat') this.#stability.heartbeat(origin, item.heartbeat.floor);
      else events += item.source.events.length;
    }
    for (const steps of remembered) {
      for (const step of steps) {
        if (step.kind === 'truncate') continue;
        for (const { shape, ops } of step.tables.values()) {
          for (const op of ops.values()) this.#recent.add(shape.id, op.key, op.chain);
        }
      }
    }
    if (quarantine.length > 0) this.#quarantined.clear();
    const conflicts: { [table: string]: number } = {};
    for (const entry of writer.conflicts) {
      const table = `${entry.schema_name}.${entry.table_name}`;
      conflicts[table] = (conflicts[table] ?? 0) + 1;
    }
    this.#options.onApplied?.({ origin, events, written: writer.written, conflicts, quarantined: quarantine.length });
  }

  async #write(writer: BatchWriter, steps: readonly Step[], isEcho: boolean, exact: boolean): Promise<void> {
    const write = async (part: readonly Step[]): Promise<void> => {
      if (isEcho) await new EchoWriter(writer, this.#options.region, this.#unrememberedLsn).write(part);
      else await writer.write(part);
    };
    if (!exact) return await write(steps);
    for (const step of steps) {
      try {
        await write([step]);
      } catch (error) {
        if (!isDataFault(error)) throw error;
        throw new EventFailure(eventOf(step), error);
      }
    }
  }

  #writer(transaction: ApplyTransaction, origin: string, seen: Seen): BatchWriter {
    const self = this.#options.region;
    const guard = origin === self ? echoGuard(self, seen, this.#stability) : remoteGuard(origin, seen, this.#stability);
    return new BatchWriter(transaction, { self, origin }, guard, this.#recent, this.#stability);
  }

  async #plan(
    transaction: ApplyTransaction,
    sources: readonly SourceTransaction[],
    poisoned: ReadonlyMap<string, Poison>,
    exact: boolean,
    quarantine: QuarantineEntry[] = [],
  ): Promise<Step[]> {
    const shapes = new Map<string, TableShape | null>();
    for (const source of sources) {
      for (const event of source.events) {
        const name = `${event.schema_name}.${event.table_name}`;
        if (shapes.has(name)) continue;
        const wanted = this.#options.isReplicated(event.schema_name, event.table_name);
        const shape = wanted ? await this.#port.shape(event.schema_name, event.table_name) : null;
        if (wanted && shape === null) {
          const missing = fail('SYN-A003', `this region has no table ${name}`);
          if (!exact) throw missing;
          if (this.#options.onError === 'stop') throw new EventFailure(event, missing);
        }
        shapes.set(name, shape);
      }
    }
    const shapeOf: ShapeOf = (event) => {
      const shape = shapes.get(`${event.schema_name}.${event.table_name}`) ?? null;
      if (poisoned.has(event.event_id)) return null;
      return shape;
    };
    const keyOf = await this.#keys(transaction, sources, shapeOf);
    const steps = planBatch(sources, shapeOf, keyOf, exact);
    if (exact) {
      for (const source of sources) {
        for (const event of source.events) {
          if (!this.#options.isReplicated(event.schema_name, event.table_name)) continue;
          const shape = shapes.get(`${event.schema_name}.${event.table_name}`) ?? null;
          const poison =
            poisoned.get(event.event_id) ??
            (shape === null ? { sqlstate: '42P01', error: 'SYN-A003 this region has no such table' } : undefined);
          if (poison !== undefined) quarantine.push(toQuarantine(event, source, shape, keyOf, poison));
        }
      }
    }
    return steps;
  }

  /** Keys whose equality only the database knows are asked for all at once; the rest is text. */
  async #keys(transaction: ApplyTransaction, sources: readonly SourceTransaction[], shapeOf: ShapeOf): Promise<KeyOf> {
    const asked = new Map<TableShape, Map<string, Image>>();
    for (const source of sources) {
      for (const event of source.events) {
        const shape = event.operation === 'TRUNCATE' ? null : shapeOf(event);
        if (shape === null || !shape.keyNeedsDatabase) continue;
        const pks = asked.get(shape) ?? new Map<string, Image>();
        asked.set(shape, pks);
        const former = formerKey(shape, event);
        for (const pk of former === null ? [currentKey(shape, event)] : [currentKey(shape, event), former]) {
          pks.set(rowKey(shape, pk), pk);
        }
      }
    }
    const canonical = new Map<TableShape, Map<string, RowKey>>();
    for (const [shape, pks] of asked) {
      const keys = await transaction.canonicalKeys(shape, [...pks.values()]);
      canonical.set(shape, new Map([...pks.keys()].map((text, place) => [text, keys[place] ?? text])));
    }
    return (shape, pk) => {
      const text = rowKey(shape, pk);
      return shape.keyNeedsDatabase ? (canonical.get(shape)?.get(text) ?? text) : text;
    };
  }

  async #waiting(transaction: ApplyTransaction, shape: TableShape): Promise<ReadonlySet<RowKey>> {
    let keys = this.#quarantined.get(shape.id);
    if (keys === undefined) {
      keys = await transaction.quarantinedKeys(shape);
      this.#quarantined.set(shape.id, keys);
    }
    return keys;
  }

  #seenAfter(origin: string, items: readonly LaneItem[]): Seen {
    const seen: { [origin: string]: Position } = {};
    for (const [other, mark] of this.#marks) if (other !== this.#options.region) seen[other] = mark.position;
    const last = items.at(-1);
    if (origin !== this.#options.region && last !== undefined) seen[origin] = last.position;
    return seen;
  }

  #markOf(origin: string, items: readonly LaneItem[]): Mark {
    const last = items.at(-1);
    if (last === undefined) throw new Error('a batch has at least one item');
    return { origin, position: last.position, event_id: last.event_id, log_offset: last.log_offset };
  }
}

/** Tells which event of an exact replay failed. */
class EventFailure extends Error {
  readonly event: ChangeEvent;
  constructor(event: ChangeEvent, cause: unknown) {
    super(messageOf(cause), { cause });
    this.event = event;
  }
}

function eventOf(step: Step): ChangeEvent {
  if (step.kind === 'truncate') return step.link.event;
  for (const { ops } of step.tables.values()) for (const op of ops.values()) return op.last.event;
  throw new Error('a step has at least one change');
}

function toQuarantine(
  event: ChangeEvent,
  source: SourceTransaction,
  shape: TableShape | null,
  keyOf: KeyOf,
  poison: Poison,
): QuarantineEntry {
  return {
    event_id: event.event_id,
    origin: event.region_id,
    schema_name: event.schema_name,
    table_name: event.table_name,
    key: shape === null || event.operation === 'TRUNCATE' ? '' : keyOf(shape, currentKey(shape, event)),
    row_pk: event.row_pk,
    hlc: source.hlc,
    position: source.position,
    event: JSON.stringify(event),
    ...poison,
  };
}

/** Whether the data, not the world, made the statement fail: what an exact replay can narrow down. */
function isDataFault(error: unknown): boolean {
  if (error instanceof EventFailure) return true;
  if (error instanceof SynclineError && error.class !== 'infrastructure') return error.class === 'data';
  return blamesData(error);
}

/** A statement's own error aborts the transaction for certain; an error of the connection may hide a commit. */
function isKnownToHaveRolledBack(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && !state.startsWith('08') && !state.startsWith('57P');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function rollback(transaction: ApplyTransaction): Promise<void> {
  try {
    await transaction.rollback();
  } catch (error) {
    // The first error is the one that counts; a connection that cannot even roll back is closed by its owner.
    if (!isInfrastructure(error)) throw error;
  }
}
