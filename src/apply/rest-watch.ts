/**
 * Tells when a region is at rest: from then on its rows need no versions, because whatever is still to come is newer.
 *
 * An upgrade of the server by pg_upgrade keeps rows and transaction ids, and drops what versions are made of: commit
 * timestamps and replication origins. Afterwards all rows count as from before the stream began, below every event. That is
 * right only if every event that is still to come is above every row, and if what a region keeps beside its rows
 * (tombstones, exact versions, parked rows, what merges) says nothing any more.
 *
 * It begins with a moment at which nothing is kept and no transaction is open: a snapshot, a place in the WAL at or behind all
 * that the snapshot sees, and a stamp at or above all that any row holds. It is reached once the own stream has come back up to
 * that place, every member is known to have applied everything up to that stamp, and so has this region, and nothing but heartbeats
 * was applied meanwhile. With any other event, or anything that is kept, a new moment begins: what is kept makes the lane write.
 */
import { type Hlc, hlcFromMicros } from '../change/hlc.ts';

/** What a region keeps beside its rows, counted; at rest all of it is 0. */
export type Kept = {
  readonly parked: number;
  readonly quarantined: number;
  readonly looks: number;
  readonly versions: number;
  readonly tombstones: number;
  readonly merges: number;
  /** Tables of which rows are being told. */
  readonly transfers: number;
};

/** A moment of a database. */
export type Moment = {
  /** What its clock shows, Unix µs. */
  readonly micros: bigint;
  /** What is committed, as `pg_current_snapshot()` tells it. */
  readonly snapshot: string;
  /** Every commit that the snapshot sees stands below it. */
  readonly lsn: bigint;
  /** Transactions in progress in the database. */
  readonly open: number;
};

export type RestView = {
  readonly moment: Moment;
  /** The highest stamp of all streams as far as they are applied. */
  readonly highest: Hlc;
  /** Everything up to it is applied everywhere, and echoed here. */
  readonly stable: Hlc;
  readonly echoedLsn: bigint;
  /** Transactions with rows that this lane has applied, echoes included. */
  readonly changes: number;
  readonly kept: Kept;
};

export type Rest =
  /** Everything that the snapshot sees is published, and newer than nothing that is still to come. */
  { readonly kind: 'rest'; readonly snapshot: string } | { readonly kind: 'unrest'; readonly waits: readonly Unrest[] };

/** What is waited for: a write that has just been applied, what is on its way, or what is kept. */
export type Unrest = 'written' | 'unpublished' | 'unstable' | 'open' | keyof Kept;

const KEPT: readonly (keyof Kept)[] = [
  'parked',
  'quarantined',
  'looks',
  'versions',
  'tombstones',
  'merges',
  'transfers',
];

export class RestWatch {
  #began: { readonly since: Hlc; readonly moment: Moment; readonly changes: number } | null = null;

  look({ moment, highest, stable, echoedLsn, changes, kept }: RestView): Rest {
    const began = this.#began;
    const waits: Unrest[] = KEPT.filter((what) => kept[what] > 0);
    if (moment.open > 0) waits.unshift('open');
    if (began !== null && began.changes !== changes) waits.unshift('written');
    if (began === null || waits.length > 0) {
      const now = hlcFromMicros(moment.micros);
      const isMoment = waits.every((what) => what === 'written');
      this.#began = isMoment ? { since: now > highest ? now : highest, moment, changes } : null;
      return { kind: 'unrest', waits: waits.length > 0 ? waits : ['unstable'] };
    }
    if (stable < began.since) waits.unshift('unstable');
    if (echoedLsn < began.moment.lsn) waits.unshift('unpublished');
    return waits.length > 0 ? { kind: 'unrest', waits } : { kind: 'rest', snapshot: began.moment.snapshot };
  }
}
