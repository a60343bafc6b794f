/**
 * The echo: a region's own events, seen again from its own stream.
 *
 * PostgreSQL tells the version of a local row by its xmin, so most local events need nothing here but to be judged for
 * conflicts. Three kinds do: a removal (also the old key of a key change) leaves its tombstone, and removes an older
 * row that apply put there between the commit and now; a TRUNCATE does so for the table; a write with a pushed stamp
 * gets its tuple rewritten under the region's own origin, so that the row says what the stream says; where an event of
 * another region was quicker and went by the older stamp, the row is put back. An echo never
 * touches a later local write, and it brings every row to the winner that all other regions compute.
 *
 * A row that is parked has no tuple, so a user can insert its key. Which of the two is later the echo tells: the tuple of an
 * older write goes, and a newer one takes the parked row's place. A write that was itself displaced, by the stamp that it had
 * before it was pushed, is brought in anew.
 */
import { haveSameValues, type Image, isoToMicros } from '../../change/change-event.ts';
import { type Hlc, hlcFromMicros } from '../../change/hlc.ts';
import { isAbove, VERSION_ZERO, type Version } from '../../change/version.ts';
import type { ParkedRow, TableShape, Tuple } from '../apply-port.ts';
import { type Current, echoRewrites, echoTakes, isPushed, type LocalWrite } from '../decide.ts';
import type { StandingRow } from '../history/standing-row.ts';
import type { ChainLink, RowOp, Step } from '../net-change.ts';
import type { BatchWriter } from './batch-writer.ts';
import type { IsUntold } from './parking.ts';

/** Rows that wait for the end of a batch; of giants with more of them the first are not waited for. */
const WAITING_MAX = 50_000;

export class EchoWriter {
  readonly #writer: BatchWriter;
  readonly #self: string;
  readonly #lostBelow: Hlc;
  /** Rows whose tuple this batch has rewritten. */
  readonly #rewritten = new Set<string>();
  /** By name, rows whose tuple is rewritten unless the batch changes them again. */
  readonly #waiting = new Map<string, { readonly shape: TableShape; readonly op: RowOp }>();

  constructor(writer: BatchWriter, self: string, lostBelow: Hlc) {
    this.#writer = writer;
    this.#self = self;
    this.#lostBelow = lostBelow;
  }

  async write(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      if (step.kind === 'truncate') await this.#truncate(step.shape, step.link);
      // What this region tells of its rows is so here.
      else if (step.areClaims !== true)
        for (const { shape, ops } of step.tables.values()) await this.#rows(shape, [...ops.values()]);
    }
  }

  /** What was to wait until the batch is through. */
  async finish(): Promise<void> {
    const byTable = Map.groupBy(this.#waiting.values(), ({ shape }) => shape);
    this.#waiting.clear();
    for (const [shape, waiting] of byTable)
      await this.#rewriteAll(
        shape,
        waiting.map(({ op }) => op),
      );
  }

  /** Their values stay, so none of them displaces another. */
  async #rewriteAll(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    const standing = await this.#writer.stand(shape, ops);
    for (const op of ops) {
      const row = standing.get(op.key);
      if (row === undefined || row.parked !== undefined) continue;
      if (echoRewrites(row.current, this.#localWrite(op)) !== 'no') await this.#place(shape, op, row);
    }
  }

  async #rows(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    if (this.#writer.merging.isTracked(shape)) return await this.#writer.merge(shape, ops);
    for (const op of ops) {
      this.#writer.judge.events(shape, op);
      // A decision changes no tuple.
      if (!op.chain.every(isDecision)) this.#waiting.delete(nameOf(shape, op));
    }
    for (const op of ops) if (isDecision(op.last)) await this.#decide(shape, op);
    const looked = ops.filter((op) => !isDecision(op.last) && this.#needsLook(shape, op));
    looked.sort((a, b) => (a.key < b.key ? -1 : 1));
    // One row displaces another, so that each is looked at only when it is its turn.
    if (shape.hasClaims) for (const op of looked) await this.#look(shape, [op]);
    else if (looked.length > 0) await this.#look(shape, looked);
  }

  /**
   * A user can have inserted the key, before the decision or after it, and neither times nor transaction ids tell which: clocks are set
   * back, and ids are not in the order of commits. So such a row is left, and the decision waits until all that is committed by now
   * is echoed: then the row shows the version that the stream gave it. The same where he has a value of the row. A later row of this
   * region that was displaced and came back shows its version. What came before a decision that is not carried out is echoed as
   * if it were the last: nothing else rewrites its row, or takes it away.
   */
  async #decide(shape: TableShape, op: RowOp): Promise<void> {
    const { hlc } = op.last.source;
    const version: Version = { hlc, origin: this.#self };
    let isLeft = false;
    const isLater = (current: Current): boolean => {
      if (current === null) return false;
      const { tuple } = current;
      isLeft = hasEchoToCome(tuple) && !isDecided(op, tuple);
      return isLeft || (!tuple.local && !tuple.own && isAbove(current.version, version));
    };
    const outcome = await this.#writer.decide(shape, op, { isLater, isUntold });
    if (outcome === 'lost') await this.#echoBefore(shape, op);
    else this.#waiting.delete(nameOf(shape, op));
    if (outcome === 'untold') return this.#putBack(shape, op);
    if (outcome === 'done' || !isLeft) return;
    if (op.kind !== 'remove') return this.#putBack(shape, op);
    const parked = (await this.#writer.parking.find(shape, [op.key])).get(op.key);
    if (parked !== undefined && isAbove(version, parked)) await this.#writer.parking.drop(shape, op.key);
    this.#writer.kept.buried(shape, op.key, op.last);
    this.#writer.kept.lookAgain(shape, op.key, op.pk, hlc);
  }

  /** What waits goes before the decision is put back: its transaction is through, and what is written later takes that away again. */
  async #echoBefore(shape: TableShape, op: RowOp): Promise<void> {
    const before = beforeDecisions(op);
    if (before !== null && this.#needsLook(shape, before)) await this.#look(shape, [before]);
    const name = nameOf(shape, op);
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    if (waiting !== undefined) await this.#rewriteAll(shape, [waiting.op]);
  }

  async #look(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    const standing = await this.#writer.stand(shape, ops);
    for (const op of ops) {
      const row = standing.get(op.key);
      if (row === undefined) continue;
      const version: Version = { hlc: op.last.source.hlc, origin: this.#self };
      if (op.kind === 'remove') {
        if (echoTakes(row.current, version)) await this.#writer.transaction.erase(shape, op);
        if (row.parked !== undefined && this.#isBehind(shape, op, version, row.parked))
          await this.#writer.parking.drop(shape, op.key);
        this.#writer.kept.buried(shape, op.key, op.last);
      } else if (!this.#isLaterDisplaced(shape, op)) {
        if (row.parked !== undefined) await this.#besideParked(shape, op, row, row.parked);
        else if (isPushed(version.hlc, commitMicros(op.last))) await this.#rewrite(shape, op, row);
      }
      this.#writer.judge.row(shape, op, row);
    }
  }

  /** Whether a removal is above what is parked, or behind it within one transaction: then a piece before this one has parked it. */
  #isBehind(shape: TableShape, { key }: RowOp, removal: Version, parked: ParkedRow): boolean {
    return isAbove(removal, parked) || (!isAbove(parked, removal) && this.#writer.parking.isParkedHere(shape, key));
  }

  /**
   * Writes a row that wins over what stands under its key. A user's row that has a value of it came later, since no two have it at
   * once; which of the two is above, its own echo tells. Until then it is left, and this one waits.
   */
  async #place(shape: TableShape, op: RowOp, row: StandingRow): Promise<void> {
    if ((await this.#writer.rows.place(shape, op, row, isUntold)) === 'untold') this.#putBack(shape, op);
  }

  #putBack(shape: TableShape, { key, pk, last }: RowOp): void {
    const version: Version = { hlc: last.source.hlc, origin: this.#self };
    this.#writer.kept.putBack(shape, { key, pk, version, event: last.event });
  }

  /** Whether a later write of another tool had to make room for a row of this batch: its own echo, which is to come, decides. */
  #isLaterDisplaced(shape: TableShape, op: RowOp): boolean {
    const displaced = this.#writer.parking.displaced(shape, op.key);
    return displaced?.foreign === true && !isOf(op, displaced);
  }

  async #besideParked(shape: TableShape, op: RowOp, row: StandingRow, parked: ParkedRow): Promise<void> {
    const version: Version = { hlc: op.last.source.hlc, origin: this.#self };
    const { current } = row;
    if (isAbove(parked, version)) {
      if (current === null || !isAbove(parked, current.version)) return;
      // A later local write can be above what is parked, by a stamp that is pushed with its echo.
      if (!hasEchoToCome(current.tuple) || isOf(op, current.tuple)) await this.#writer.transaction.erase(shape, op);
      return;
    }
    const stamp = commitMicros(op.last);
    const wasPushed = isPushed(version.hlc, stamp);
    // What is parked is this very write. With a pushed stamp only its echo parks it, and this is a later change of it.
    if (!isAbove(version, parked) && !wasPushed) return;
    await this.#writer.parking.drop(shape, op.key);
    if (!wasPushed) return;
    // Of another tool's write no version is known before its echo.
    const isThisWrite =
      !isAbove(version, parked) ||
      (parked.origin === this.#self && parked.hlc === hlcFromMicros(stamp)) ||
      (parked.hlc === VERSION_ZERO.hlc && haveSameValues(parked.image, op.image ?? {}));
    if (current === null && isThisWrite) await this.#place(shape, op, { ...row, parked: undefined });
    else await this.#rewrite(shape, op, row);
  }

  /**
   * Brings the row of a pushed write to what the stream says; leaves it where it is another write's by now. A row that is
   * gone was removed by a later local write, which is above it and whose echo is to come, or by an event that took it for
   * older than it is, going by its commit timestamp. Which of the two tells itself once all that is committed by now is echoed.
   */
  async #rewrite(shape: TableShape, op: RowOp, row: StandingRow): Promise<void> {
    const version: Version = { hlc: op.last.source.hlc, origin: this.#self };
    const name = nameOf(shape, op);
    if (row.current === null) {
      if (row.tombstone !== undefined && isAbove(row.tombstone, version)) return;
      // Within a transaction, a TRUNCATE behind a first rewriting took the tuple that a later change left, or another row
      // of it took its place for the time being.
      if (this.#rewritten.has(name) || this.#writer.parking.displaced(shape, op.key) !== undefined)
        await this.#place(shape, op, row);
      else this.#putBack(shape, op);
      return;
    }
    const rewrites = echoRewrites(row.current, this.#localWrite(op));
    if (rewrites === 'no') return;
    if (rewrites === 'once it is through' && this.#waiting.size < WAITING_MAX) {
      this.#waiting.set(name, { shape, op });
      return;
    }
    this.#rewritten.add(name);
    await this.#place(shape, op, row);
  }

  #localWrite({ last, image }: RowOp): LocalWrite {
    const version: Version = { hlc: last.source.hlc, origin: this.#self };
    return { version, xid: last.source.xid, commitMicros: commitMicros(last), image: image ?? {} };
  }

  /** An event that was forgotten unsettled may have overwritten it. */
  #needsLook(shape: TableShape, op: RowOp): boolean {
    const { source } = op.last;
    return (
      op.kind === 'remove' ||
      this.#writer.parking.isParked(shape, op.key) ||
      isPushed(source.hlc, commitMicros(op.last)) ||
      source.hlc < this.#lostBelow
    );
  }

  async #truncate(shape: TableShape, link: ChainLink): Promise<void> {
    this.#writer.judge.truncate(shape, link);
    for (const [name, waiting] of this.#waiting) if (waiting.shape.id === shape.id) this.#waiting.delete(name);
    const emptyTable = async (): Promise<void> =>
      await this.#writer.emptyTable(shape, link, ({ current }, version) => echoTakes(current, version));
    if (this.#writer.merging.isTracked(shape)) await this.#writer.merging.truncate(shape, link, emptyTable);
    else await emptyTable();
  }
}

/** Whether only an echo that may be yet to come tells its version. */
const isUntold: IsUntold = ({ local }) => local;

/** The same, but for what is from before the stream, or so old that PostgreSQL has forgotten its time. */
const hasEchoToCome = ({ local, foreign, stampMicros }: Tuple): boolean => local && (foreign || stampMicros !== null);

const nameOf = ({ id }: TableShape, { key }: RowOp): string => `${id} ${key}`;

/** Whether one of the op's own events left the row so. */
function isOf(op: RowOp, { xid, image }: Tuple): boolean {
  return op.chain.some(({ event: { after_image }, source }) => {
    return source.xid === xid || (after_image !== null && haveSameValues(image, after_image));
  });
}

/**
 * Whether the row is what the decision leaves, or is surely of an event before it. A row with the values of such an event may be that
 * one's, written in a subtransaction, or a user's later one.
 */
function isDecided(op: RowOp, { xid, image }: Tuple): boolean {
  return op.chain.some(({ source }) => source.xid === xid) || (op.image !== null && haveSameValues(image, op.image));
}

/** What the events before the decisions at the end left of the row; null where there are none. */
function beforeDecisions(op: RowOp): RowOp | null {
  const at = op.chain.findLastIndex((link) => !isDecision(link));
  const chain = op.chain.slice(0, at + 1);
  const last = chain.at(-1);
  if (last === undefined) return null;
  // A later image may lack columns that did not change.
  const images = chain.slice(chain.findLastIndex(({ removes }) => removes) + 1).map(({ event }) => event.after_image);
  const image: Image = Object.assign({}, ...images);
  return last.removes
    ? { ...op, kind: 'remove', image: null, chain, last }
    : { ...op, kind: 'upsert', image, chain, last };
}

/** What an operator decided is applied here as everywhere: no tuple has changed by it. */
function isDecision({ event }: ChainLink): boolean {
  return event.operator === true;
}

/** Commit time at the origin, in Unix µs: what PostgreSQL keeps for the tuple. */
function commitMicros(link: ChainLink): bigint {
  return isoToMicros(link.source.committed_at);
}
