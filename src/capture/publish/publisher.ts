/**
 * Makes stamped ChangeEvents of local transactions and publishes them, each transaction whole, in WAL order, once.
 *
 * A transaction's rows are held until its commit, because the Stamper has to know all of them before it stamps the
 * first. One that grows beyond a bound is stamped for whole tables instead and streams out in bounded memory; one
 * event is held back then, since the last must say that it is the last.
 *
 * What a transaction has seen is asked of the notes' ledger, which answers once no batch of apply that could be noted
 * below its commit is in flight. Guessing earlier would make an event look concurrent with what it overwrote.
 *
 * Once, across restarts: the slot sends again what was not confirmed, and `resumeAfter` (the stream's last whole
 * transaction) tells how much of that is published. The transaction at that position must be the very same one, else
 * this WAL is another history than the stream's. Until it was met nothing is confirmed, so a wrong history keeps its
 * changes in the slot. Positions alone would not do: a restored database has the same ones with other contents.
 *
 * Any error ends the publisher for good; capture opens a new run with a new one, from the stream's tail.
 */
import { boundedMicros, microsToIso } from '../../change/change-event.ts';
import { hlcFromMicros, hlcFromText, hlcMicros } from '../../change/hlc.ts';
import { type Epoch, lsnToText, makePosition, type Position, positionLsn, type Seen } from '../../change/position.ts';
import { changeRecord, type LogRecord } from '../../change/stream-record.ts';
import type { NotesLedger, NotesServer } from '../../clock/notes-ledger.ts';
import type { Stability } from '../../clock/stability.ts';
import type { Stamper } from '../../clock/stamper.ts';
import type { StreamWriter } from '../../log/event-log.ts';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { ActiveMerges } from './active-merges.ts';
import type { HeartbeatMessage, RowChange, TransactionBegin, TransactionSink } from './decoded-transaction.ts';
import { type DeferAppend, GroupCommit } from './group-commit.ts';
import { RecordMaker, type StampedTransaction } from './record-maker.ts';
import { type TouchedLimits, TouchedRows } from './row-identity.ts';

/** A transaction beyond the first two is not held until its commit. */
export type PublisherLimits = TouchedLimits & {
  /** What may wait while an append is in flight; as much again is in flight. */
  readonly append_rows_max: number;
  readonly append_bytes_max: number;
  /** A record that is larger stops capture. Below the longest string that the engine can hold. */
  readonly record_bytes_max: number;
};

export const PUBLISHER_LIMITS: PublisherLimits = {
  transaction_rows_max: 10_000,
  transaction_bytes_max: 8 * 1024 * 1024,
  append_rows_max: 2_000,
  append_bytes_max: 2 * 1024 * 1024,
  record_bytes_max: 256 * 1024 * 1024,
};

/** The last transaction of this history of the WAL that the stream holds. */
export type StreamTail = {
  /** Of the open epoch, or of an earlier one that this history went through. */
  readonly position: Position;
  /** Null where it is known to be this history's without being looked at. */
  readonly xid: number | null;
  readonly committed_at: string | null;
};

export type PublisherOptions = {
  readonly region: string;
  readonly run: number;
  readonly epoch: Epoch;
  /** What every transaction of this epoch had seen of the region's earlier ones; null for nothing. */
  readonly fork: Position | null;
  /** Where the earlier epochs ended; null where there are none. */
  readonly after: Position | null;
  readonly writer: Pick<StreamWriter, 'append'>;
  readonly ledger: Pick<NotesLedger, 'below'>;
  readonly notesServer: NotesServer;
  readonly stamper: Stamper;
  readonly stability: Pick<Stability, 'floorFor'>;
  /** Which merge rules are active where the slot begins to send. */
  readonly merges: ActiveMerges;
  readonly resumeAfter: StreamTail | null;
  /** The slot's confirmed position when the stream began: what committed below it is not sent again. */
  readonly confirmedLsn: bigint;
  /** Position of the last transaction or heartbeat in the stream; null for an empty stream. */
  readonly predecessor: Position | null;
  /** Everything up to this position is durable in the log, or needs not be. Called in order. */
  readonly onDurable: (endLsn: bigint) => void;
  readonly limits?: Partial<PublisherLimits>;
  /** When an append starts; at once unless given. */
  readonly defer?: DeferAppend;
};

export type PublishedCounts = {
  transactions: number;
  heartbeats: number;
  rows: number;
  bytes: number;
  /** Transactions stamped above their commit timestamp: none while clocks agree. */
  pushed: number;
  /** Transactions that another tool applied here, whose commit timestamps count for nothing. */
  foreign: number;
};

export const NOTHING_PUBLISHED: Readonly<PublishedCounts> = {
  transactions: 0,
  heartbeats: 0,
  rows: 0,
  bytes: 0,
  pushed: 0,
  foreign: 0,
};

/** The transaction between begin and commit. */
type OpenTransaction = {
  readonly begin: TransactionBegin;
  /** The stream holds it already. */
  readonly isPublished: boolean;
  /** Whether it carries another tool's replication origin. */
  isForeign: boolean;
  readonly touched: TouchedRows;
  rows: RowChange[];
  heartbeat: HeartbeatMessage | null;
  /** Set once it streams out. */
  stamped: StampedTransaction | null;
};

export class Publisher implements TransactionSink {
  readonly #options: PublisherOptions;
  readonly #limits: PublisherLimits;
  readonly #records: RecordMaker;
  readonly #commits: GroupCommit;
  readonly #tailLsn: bigint;
  /** Whether the history of the WAL is known to go on where the stream ends. */
  #isTailMet: boolean;
  #open: OpenTransaction | null = null;
  #lastLsn = 0n;
  #predecessor: Position | null;
  /** The last seen that was asked for, and what it becomes. */
  #noted: Seen | null = null;
  #seen: Seen = {};
  readonly #counts: PublishedCounts = { ...NOTHING_PUBLISHED };

  constructor(options: PublisherOptions) {
    const { resumeAfter, confirmedLsn } = options;
    this.#options = options;
    this.#limits = { ...PUBLISHER_LIMITS, ...options.limits };
    this.#predecessor = options.predecessor;
    this.#tailLsn = resumeAfter === null ? 0n : positionLsn(resumeAfter.position);
    // The server leaves out a transaction whose commit record begins below the confirmed position.
    this.#isTailMet = resumeAfter === null || confirmedLsn > this.#tailLsn;
    this.#records = new RecordMaker(options, this.#limits.record_bytes_max);
    this.#commits = new GroupCommit({
      writer: options.writer,
      onDurable: options.onDurable,
      rowsMax: this.#limits.append_rows_max,
      bytesMax: this.#limits.append_bytes_max,
      defer: options.defer ?? ((start) => start()),
    });
  }

  /** Aborted, with the error as its reason, once this publisher has ended for good. */
  get failed(): AbortSignal {
    return this.#commits.failed;
  }

  get counts(): Readonly<PublishedCounts> {
    return this.#counts;
  }

  /** Position of the last transaction that was published, durable or not yet. */
  get lastPosition(): Position | null {
    return this.#predecessor;
  }

  async begin(begin: TransactionBegin): Promise<void> {
    await this.#orFail(() => {
      invariant(this.#open === null, 'a transaction begins after the one before it has ended');
      if (begin.lsn <= this.#lastLsn) throw fail('SYN-K006', `commit at ${lsnToText(begin.lsn)} is sent out of order`);
      this.#lastLsn = begin.lsn;
      const isPublished = this.#meetTail(begin);
      const touched = new TouchedRows(this.#limits);
      this.#open = { begin, isPublished, isForeign: false, touched, rows: [], heartbeat: null, stamped: null };
    });
  }

  change(taken: RowChange): void | Promise<void> {
    this.failed.throwIfAborted();
    const open = this.#opened();
    // Before what is published already is passed over: it may say what is active behind it.
    const change = this.#options.merges.next(taken);
    if (open.isPublished) return undefined;
    try {
      open.touched.add(change);
      open.rows.push(change);
      if (open.stamped !== null) return this.#streamOut(open, open.stamped);
    } catch (error) {
      this.#commits.fail(error);
      throw error;
    }
    if (!open.touched.isGiant) return undefined;
    return this.#orFail(async () => {
      open.stamped = await this.#stamp(open);
      await this.#streamOut(open, open.stamped);
    });
  }

  foreignOrigin(): void {
    this.#opened().isForeign = true;
  }

  heartbeat(heartbeat: HeartbeatMessage): void {
    this.#opened().heartbeat = heartbeat;
  }

  async commit(endLsn: bigint): Promise<void> {
    await this.#orFail(async () => {
      const open = this.#opened();
      if (open.isPublished) {
        if (open.begin.lsn === this.#tailLsn) this.#confirmTail(open);
        this.#open = null;
        if (this.#isTailMet) this.#commits.seal(endLsn);
        return;
      }
      if (open.rows.length > 0) await this.#publish(open);
      else if (open.heartbeat !== null) await this.#publishHeartbeat(open, open.heartbeat);
      this.#open = null;
      this.#commits.seal(endLsn);
      await this.#commits.space();
    });
  }

  /** Resolves once everything that was published is durable. */
  async durable(): Promise<void> {
    await this.#commits.durable();
  }

  /** Ends the publisher; what waits is not appended. */
  end(reason: unknown): void {
    this.#commits.fail(reason);
  }

  /** Whether the stream holds the transaction; throws if it was left out where the stream ends. */
  #meetTail({ lsn }: TransactionBegin): boolean {
    const tail = this.#options.resumeAfter;
    if (tail === null || lsn > this.#tailLsn) {
      if (this.#isTailMet) return false;
      const detail = `the slot sends ${lsnToText(lsn)} and left out ${lsnToText(this.#tailLsn)}, where the stream ends`;
      throw fail('SYN-K009', detail, { context: { position: tail?.position } });
    }
    return true;
  }

  /** Throws if the transaction where the stream ends is another than the one that the stream tells of. */
  #confirmTail({ begin, isForeign }: OpenTransaction): void {
    const tail = this.#options.resumeAfter;
    const { lsn, xid, commitMicros } = begin;
    if (tail === null) return;
    // Of another tool's transaction the stream does not keep the commit timestamp.
    const committed_at = isForeign ? tail.committed_at : microsToIso(commitMicros);
    if ((tail.committed_at ?? committed_at) !== committed_at || (tail.xid !== null && tail.xid !== xid)) {
      const found = `transaction ${xid} of ${committed_at}`;
      const detail = `at ${lsnToText(lsn)} the slot sends ${found}, the stream holds ${tail.xid ?? 'one'} of ${tail.committed_at ?? 'then'}`;
      throw fail('SYN-K009', detail, { context: { position: tail.position } });
    }
    this.#isTailMet = true;
  }

  async #stamp({ begin, isForeign, touched }: OpenTransaction): Promise<StampedTransaction> {
    const { epoch, ledger, stamper, notesServer } = this.#options;
    const { seen: noted, max_hlc } = await ledger.below(begin.lsn, notesServer, this.failed);
    const seen = this.#withOwn(noted);
    const predecessor = this.#predecessor;
    const position = makePosition(epoch, begin.lsn);
    this.#predecessor = position;
    if (!isForeign) {
      const hlc = stamper.stamp(begin.commitMicros, max_hlc, touched.rows, touched.truncated);
      return this.#records.transaction({ begin, hlc, position, predecessor, seen });
    }
    // A stream may begin with it, and then nothing but the epoch's own time says when it was.
    const born = hlcFromText(epoch);
    const hlc = stamper.stamp(null, max_hlc > born ? max_hlc : born, touched.rows, touched.truncated);
    const stated = { ...begin, commitMicros: hlcMicros(hlc) };
    const statedMicros = boundedMicros(begin.commitMicros);
    return this.#records.transaction({ begin: stated, hlc, position, predecessor, seen, statedMicros });
  }

  #count({ begin, isForeign }: OpenTransaction, { hlc }: StampedTransaction): void {
    this.#counts.transactions += 1;
    if (isForeign) this.#counts.foreign += 1;
    else if (hlc !== hlcFromMicros(begin.commitMicros)) this.#counts.pushed += 1;
  }

  /** Adds what it had seen of the earlier epochs: what was given back to this region by then, and what it never lost. */
  #withOwn(noted: Seen): Seen {
    const { region, fork } = this.#options;
    const known = noted[region];
    if (fork === null || (known !== undefined && known >= fork)) return noted;
    if (this.#noted !== noted) {
      this.#noted = noted;
      this.#seen = { ...noted, [region]: fork };
    }
    return this.#seen;
  }

  async #publish(open: OpenTransaction): Promise<void> {
    if (open.stamped !== null) {
      // It may have come to further tables since it was stamped: what follows must be above it there too.
      this.#options.stamper.remember(open.stamped.hlc, open.touched.rows, []);
    }
    const stamped = open.stamped ?? (await this.#stamp(open));
    this.#count(open, stamped);
    const count = open.rows.length;
    for (const [index, change] of open.rows.entries()) this.#add(stamped, change, index === count - 1);
  }

  /** Publishes all that is held of a giant transaction but one event, which may be its last. */
  #streamOut(open: OpenTransaction, stamped: StampedTransaction): Promise<void> | undefined {
    const held = open.rows.pop();
    invariant(held !== undefined, 'a change was just taken in');
    for (const change of open.rows) this.#add(stamped, change, false);
    open.rows = [held];
    return this.#commits.space();
  }

  #add(stamped: StampedTransaction, change: RowChange, isLast: boolean): void {
    const event = stamped.event(change, isLast);
    this.#append(this.#records.checked(() => changeRecord(this.#options.run, stamped.position, event), change));
    this.#counts.rows += 1;
  }

  async #publishHeartbeat(
    open: OpenTransaction,
    { members, delays_ms = {}, merges = false, claims = false }: HeartbeatMessage,
  ): Promise<void> {
    const stamped = await this.#stamp(open);
    const { stamper, stability, region, after } = this.#options;
    const ofOwn = stamped.seen[region] ?? null;
    const floor = stability.floorFor(stamped.seen, ofOwn === after ? 'all' : ofOwn);
    this.#append(stamped.heartbeat({ promise: stamper.promise, floor, members, delays_ms, merges, claims }));
    this.#counts.heartbeats += 1;
  }

  #append(record: LogRecord): void {
    this.#commits.add(record);
    this.#counts.bytes += record.value.length;
  }

  #opened(): OpenTransaction {
    invariant(this.#open !== null, 'a transaction has begun');
    return this.#open;
  }

  /** Runs a step; an error of it is the end of this publisher. */
  async #orFail(step: () => void | Promise<void>): Promise<void> {
    this.failed.throwIfAborted();
    try {
      await step();
    } catch (error) {
      this.#commits.fail(error);
      throw error;
    }
  }
}
