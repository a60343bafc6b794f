/**
 * Applies events to rows of a table that merges: they enter the row's history, and the row is brought to what the fold says
 * (`merged-row.ts`).
 *
 * It is the same for events of other regions and for echoes, but that an echo tells what has been captured of the row. A row
 * is locked for that and not longer; one that a user writes again and again still takes what others did, because what is
 * not captured yet is laid over the fold. Where a user inserts a row that was absent at the look, it is looked at again.
 *
 * A row that nothing is kept of is at rest: everything that it holds is seen by whatever comes. Only while a table has just
 * begun to be tracked may it hold an event that is not: by last writer wins, which alone was active then, that one may be
 * above an event that comes now. So the row's own version is asked for once, and counts as its base. The same where an event comes
 * behind later ones of its stream.
 */
import type { Image } from '../../change/change-event.ts';
import type { Hlc } from '../../change/hlc.ts';
import { type Epoch, positionLsn, type Seen } from '../../change/position.ts';
import type { Version } from '../../change/version.ts';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { MergeAnswer } from '../../resolve/fold.ts';
import { type FoldAnswers, foldTogether, type MergeRequest } from '../../resolve/fold-drivers.ts';
import { settledRow } from '../../resolve/fold-state.ts';
import { isPlainlyValid } from '../../resolve/known-merges.ts';
import {
  type ApplyTransaction,
  EVERY_ROW,
  type MergeEntry,
  type RowKey,
  type TableShape,
  type Tuple,
  type UpsertRow,
} from '../apply-port.ts';
import { eventWins, type IsBehind, lateEventWins } from '../decide.ts';
import type { Merged } from '../history/conflicts.ts';
import type { KeyedRow, Stand, StandingRow } from '../history/standing-row.ts';
import { type ChainLink, formerKey, type RowOp } from '../net-change.ts';
import type { Inheritance, LoadedMerge, MergeMemory } from './merge-memory.ts';
import type { MergeRules } from './merge-rules.ts';
import type { HistoryEvent, MergedRow, RowPlace } from './merged-row.ts';
import { shadowEntries, toEntry } from './shadow-entries.ts';

/** How often rows are looked at again that users insert between look and write. */
const RACES_MAX = 16;

/** Sorts behind every region. */
const ABOVE_ALL_NAMES = '~';

/** Runs custom merge functions. */
export type MergeFunctions = (requests: readonly MergeRequest[]) => Promise<readonly MergeAnswer[]>;

export type MergeView = {
  readonly rules: MergeRules;
  readonly memory: MergeMemory;
  readonly functions: MergeFunctions;
  readonly region: string;
  readonly epoch: Epoch;
  /** How far the own stream has come back. */
  readonly echoedLsn: bigint;
  /** What is applied here once the transaction is committed. */
  readonly seen: Seen;
  /** Whether the events are this region's own, coming back. */
  readonly isEcho: boolean;
  /** Set where an event comes behind later ones of its stream. */
  readonly isBehind: IsBehind | null;
  /** Events on every row up to it are in every row that nothing is kept of, but for one of which an event comes late. */
  readonly stable: Hlc;
  /** Keys of rows of which an event is set aside, which may yet come. */
  readonly setAside: (shape: TableShape) => Promise<ReadonlySet<RowKey>>;
};

type Target = KeyedRow & {
  readonly row: MergedRow;
  /** What the first new event found. */
  readonly before: Image | null;
  readonly inherited: readonly HistoryEvent[];
  readonly fresh: readonly HistoryEvent[];
};

export class MergeWriter {
  readonly #transaction: ApplyTransaction;
  readonly #stand: Stand;
  readonly #view: MergeView;
  readonly #touched: { readonly shape: TableShape; readonly key: RowKey }[] = [];

  /** `stand` tells how rows stand by last writer wins. */
  constructor(transaction: ApplyTransaction, stand: Stand, view: MergeView) {
    this.#transaction = transaction;
    this.#stand = stand;
    this.#view = view;
  }

  isTracked(shape: TableShape): boolean {
    return this.#view.rules.isTracked(shape);
  }

  /** What is known at once of a loss to an event that names that version; null for last writer wins. */
  describe(version: string | undefined): Merged | null {
    return version === undefined ? null : { strategy: this.#view.rules.strategy(version), result: null };
  }

  /** Of each row, what it was behind the step of the event with that version. */
  async results(
    shape: TableShape,
    asked: readonly { readonly key: RowKey; readonly version: Version }[],
  ): Promise<(Image | null)[]> {
    const keys = asked.map(({ key }) => key);
    const inheritance = await this.#inheritance(shape);
    const loaded = await this.#view.memory.read(this.#transaction, shape, keys, inheritance);
    const foldings = asked.map(({ key, version }) => {
      return begun(loadedOf(loaded, key)).row.fold.behind(version);
    });
    return (await foldTogether(foldings, this.#answers(shape))).map(({ image }) => image);
  }

  /** Forgets what was made of rows in a transaction that is not committed. */
  undo(): void {
    for (const { shape, key } of this.#touched) this.#view.memory.forget(shape, key);
  }

  /** Returns the rows whose tuple was written: true where there is one now. */
  async rows(shape: TableShape, ops: readonly RowOp[]): Promise<Map<RowKey, boolean>> {
    const loaded = await this.#load(shape, ops);
    const asked = ops.filter(
      ({ key, chain }) =>
        loaded.get(key)?.row.isUnknown === true &&
        chain[0] !== undefined &&
        (ruleOf(chain[0]) === undefined || this.#view.isBehind !== null),
    );
    const standing = asked.length === 0 ? null : await this.#stand(shape, asked);
    const targets = ops.map((op): Target => {
      const of = loadedOf(loaded, op.key);
      const { row } = of;
      const events = op.chain.map((link) => this.#toEvent(shape, link));
      const [first] = events;
      invariant(first !== undefined, 'a row is changed by an event');
      const stands = standing?.get(op.key);
      if (stands !== undefined && !this.#view.isEcho) begin(of, stands, first.version, this.#view.isBehind);
      const { inherited } = begun(of);
      const fresh = events.filter((event) => row.fold.add(event));
      if (this.#view.isEcho)
        for (const { position, after, seen } of events) row.captured(positionLsn(position), after, seen);
      return { key: op.key, pk: op.pk, row, before: first.before, inherited, fresh };
    });
    return await this.#settle(shape, targets);
  }

  /** A TRUNCATE, as an event on every row of which anything is kept; what else is in the table is the caller's. */
  async truncate(shape: TableShape, link: ChainLink, emptyTable: () => Promise<void>): Promise<void> {
    const event = this.#toEvent(shape, link);
    const kept = await this.#transaction.mergeKeys(shape);
    const loaded = await this.#load(shape, kept);
    const targets = kept.map(({ key, pk }): Target => {
      const { row, inherited } = begun(loadedOf(loaded, key));
      const fresh = row.fold.add(event) ? [event] : [];
      if (this.#view.isEcho) row.captured(positionLsn(event.position), null, event.seen);
      return { key, pk, row, before: null, inherited, fresh };
    });
    const found = await this.#transaction.inspect(shape, kept);
    await emptyTable();
    await this.#transaction.addHistory(shape, [{ key: EVERY_ROW, entries: [toEntry(event)] }]);
    await this.#settle(shape, targets, found);
  }

  /** Brings rows to what is known by now. */
  async visit(shape: TableShape, rows: readonly KeyedRow[]): Promise<void> {
    const loaded = await this.#load(shape, rows);
    const targets = rows.map(({ key, pk }): Target => {
      return { key, pk, before: null, fresh: [], ...begun(loadedOf(loaded, key)) };
    });
    const written = await this.#settle(shape, targets);
    const versions = targets.flatMap(({ key, row }) => {
      const { newest } = row.fold;
      if (written.get(key) !== true || newest === undefined) return [];
      return [{ key, hlc: newest.version.hlc, position: newest.position, event_id: newest.event_id }];
    });
    if (versions.length > 0) await this.#transaction.recordVersions(shape, versions);
  }

  /** Lets a row stay as it is, though it was to be looked at again. */
  async unvisited(shape: TableShape, { key, pk }: KeyedRow): Promise<KeyedRow & { readonly row: MergedRow }> {
    const { row } = begun(loadedOf(await this.#load(shape, [{ key, pk }]), key));
    const kept = { key, pk, row };
    await this.#transaction.putMerges(shape, [{ ...entryOf(kept), visit_at: null }]);
    return kept;
  }

  /** Lets the histories of rows begin behind what is stable; of a row that is at rest nothing is kept. */
  async prune(shape: TableShape, rows: readonly KeyedRow[], stable: Hlc): Promise<void> {
    const upTo = { hlc: stable, origin: ABOVE_ALL_NAMES };
    const loaded = await this.#load(shape, rows);
    const kept = rows.map(({ key, pk }) => ({ key, pk, row: begun(loadedOf(loaded, key)).row }));
    const shadows = await shadowEntries(kept, upTo, this.#answers(shape));
    if (shadows.length > 0) await this.#transaction.putShadows(shape, shadows);
    await foldTogether(
      kept.map(({ row }) => row.fold.prune(upTo)),
      this.#answers(shape),
    );
    const left = kept.filter(({ row }) => !row.isAtRest);
    if (left.length > 0)
      await this.#transaction.dropHistory(
        shape,
        left.map(({ key }) => ({ key, upTo, whole: false })),
      );
    await this.#putStates(shape, kept);
  }

  /** Of a row that is at rest nothing is kept. */
  async #putStates(shape: TableShape, rows: readonly (KeyedRow & { readonly row: MergedRow })[]): Promise<void> {
    const [atRest, left] = [rows.filter(({ row }) => row.isAtRest), rows.filter(({ row }) => !row.isAtRest)];
    const dropped = atRest.map(({ key, row }) => ({ key, upTo: row.version, whole: true }));
    await Promise.all([
      dropped.length === 0 ? undefined : this.#transaction.dropHistory(shape, dropped),
      left.length === 0 ? undefined : this.#transaction.putMerges(shape, left.map(entryOf)),
    ]);
    for (const { key } of atRest) this.#view.memory.forget(shape, key);
  }

  async #load(shape: TableShape, rows: readonly KeyedRow[]): Promise<Map<RowKey, LoadedMerge>> {
    const keys = rows.map(({ key }) => key);
    for (const key of keys) this.#touched.push({ shape, key });
    return await this.#view.memory.load(this.#transaction, shape, keys, await this.#inheritance(shape));
  }

  async #inheritance(shape: TableShape): Promise<Inheritance> {
    const { stable, isBehind, setAside } = this.#view;
    if (isBehind !== null) return { above: stable, isLate: () => true };
    const keys = await setAside(shape);
    return { above: stable, isLate: (key) => keys.has(key) || keys.has(EVERY_ROW) };
  }

  /** `emptied` has the rows as they were before the table was emptied in this transaction. */
  async #settle(
    shape: TableShape,
    targets: readonly Target[],
    emptied?: ReadonlyMap<RowKey, Tuple>,
  ): Promise<Map<RowKey, boolean>> {
    const written = new Map<RowKey, boolean>();
    const place = this.#place(shape);
    const answers = this.#answers(shape);
    let open = targets;
    for (let races = 0; open.length > 0; races += 1) {
      if (races === RACES_MAX) {
        throw fail('SYN-A008', `rows of ${shape.id} changed ${RACES_MAX} times while they were looked at`);
      }
      // The position is read behind the locks.
      const [tuples, lsn] = await Promise.all([
        this.#transaction.inspect(shape, open),
        this.#transaction.walPosition(),
      ]);
      const foldings = open.map(({ key, row, before, inherited }) => {
        const tuple = emptied?.get(key) ?? tuples.get(key);
        const found = {
          image: tuple?.image ?? null,
          isLocal: tuple?.local === true && tuple.stampMicros !== null,
          // By one that is stable, a row that is absent was not taken just now: its users may have removed it since.
          isEmptied: inherited.some(({ version }) => version.hlc > this.#view.stable),
          lsn,
        };
        return row.settle(found, before, this.#view.seen, place);
      });
      const settled = await foldTogether(foldings, answers);
      const raced: Target[] = [];
      const replaced: UpsertRow[] = [];
      const writing = open.map(async (target, at) => {
        const { image, keep } = settled[at] ?? { image: null, keep: () => {} };
        const outcome = await this.#write(shape, target, tuples.get(target.key), image, replaced);
        if (outcome === 'raced') raced.push(target);
        else keep();
        if (outcome === 'placed' || outcome === 'removed') written.set(target.key, outcome === 'placed');
      });
      if (replaced.length > 0) writing.push(this.#transaction.overwriteAll(shape, replaced));
      await Promise.all(writing);
      open = raced;
    }
    await this.#keep(shape, targets);
    return written;
  }

  /** What is to be overwritten it adds to `replaced`. */
  async #write(
    shape: TableShape,
    { key, pk, row }: Target,
    tuple: Tuple | undefined,
    image: Image | null,
    replaced: UpsertRow[],
  ): Promise<'placed' | 'removed' | 'left' | 'raced'> {
    const { hlc } = row.version;
    if (image === null) {
      if (tuple === undefined) return 'left';
      await this.#transaction.erase(shape, { key, pk });
      return 'removed';
    }
    if (tuple === undefined) {
      return (await this.#transaction.insert(shape, { key, pk, image, hlc })) ? 'placed' : 'raced';
    }
    const isThere = Object.keys(image).every(
      (column) => tuple.image[column] === undefined || tuple.image[column] === image[column],
    );
    if (isThere) return 'left';
    replaced.push({ key, pk, image, hlc });
    return 'placed';
  }

  async #keep(shape: TableShape, targets: readonly Target[]): Promise<void> {
    const histories = targets.flatMap(({ key, inherited, fresh }) => {
      const entries = [...inherited, ...fresh].map(toEntry);
      return entries.length === 0 ? [] : [{ key, entries }];
    });
    await Promise.all([
      histories.length === 0 ? undefined : this.#transaction.addHistory(shape, histories),
      this.#putStates(shape, targets),
    ]);
  }

  #place(shape: TableShape): RowPlace {
    const { region, epoch, rules, echoedLsn } = this.#view;
    return { region, epoch, rule: rules.active(shape), echoedLsn };
  }

  #answers(shape: TableShape): FoldAnswers {
    return {
      validate: async (requests) => {
        const rows = requests.map(({ rule, image }) => ({ image, validity: this.#view.rules.validity(rule) }));
        const asked = rows.filter(({ validity }) => !validity.isPlain);
        const answers = asked.length === 0 ? [] : await this.#transaction.areValid(shape, asked);
        const answered = new Map(asked.map((row, place) => [row, answers[place] === true]));
        return rows.map((row) => answered.get(row) ?? isPlainlyValid(row.validity, row.image));
      },
      merge: this.#view.functions,
    };
  }

  #toEvent(shape: TableShape, { event, source, removes }: ChainLink): HistoryEvent {
    const { merge, merge_shadow } = event;
    const rule = this.#view.rules.rule(merge);
    if (merge !== undefined && rule === undefined) {
      throw fail('SYN-A110', `${shape.id}: ${merge}`, { context: { table: shape.id, version: merge } });
    }
    const isMove = !removes && formerKey(shape, event) !== null;
    return {
      version: { hlc: source.hlc, origin: event.region_id },
      position: source.position,
      index: event.transaction.index,
      event_id: event.event_id,
      seen: source.seen,
      before: event.operation === 'TRUNCATE' || isMove ? null : event.before_image,
      after: removes ? null : event.after_image,
      merge,
      ...(merge_shadow === undefined ? {} : { merge_shadow }),
      rule,
    };
  }
}

/** What a row that nothing is kept of holds already that is above an event that comes now. A removal that it inherits is none of that. */
function begin({ row, inherited }: LoadedMerge, stands: StandingRow, event: Version, isBehind: IsBehind | null): void {
  const isInherited = inherited.some(({ version }) => isSameVersion(version, stands.tombstone));
  const tombstone = isInherited ? undefined : stands.tombstone;
  const { current } = stands;
  const isLocal = current?.tuple.local === true;
  const wins =
    isBehind === null ? eventWins(current, tombstone, event) : lateEventWins({ ...stands, tombstone }, event, isBehind);
  if (isLocal || wins) return;
  const isRemoved = tombstone !== undefined && (current === null || tombstone.hlc > current.version.hlc);
  const base = isRemoved
    ? settledRow(null, { hlc: tombstone.hlc, origin: tombstone.origin })
    : current === null
      ? null
      : settledRow(current.tuple.image, current.version);
  if (base !== null) row.beginFrom(base);
}

function isSameVersion({ hlc, origin }: Version, other: Version | undefined): boolean {
  return hlc === other?.hlc && origin === other.origin;
}

/** With what it has from its beginning; of that, what is above its base. */
function begun({ row, inherited }: LoadedMerge): LoadedMerge {
  return { row, inherited: inherited.filter((event) => row.fold.add(event)) };
}

function ruleOf({ event }: ChainLink): string | undefined {
  return event.merge;
}

function entryOf({ key, pk, row }: KeyedRow & { readonly row: MergedRow }): MergeEntry {
  return { key, pk, hlc: row.version.hlc, state: row.toText(), visit_at: row.visitAt };
}

function loadedOf(loaded: ReadonlyMap<RowKey, LoadedMerge>, key: RowKey): LoadedMerge {
  const found = loaded.get(key);
  invariant(found !== undefined, 'a row that was loaded');
  return found;
}
