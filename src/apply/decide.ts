/**
 * The decisions of apply, pure: what an event may do to a row as it stands.
 *
 * Last writer wins by version. The one place where a version is not compared is a tuple that this very transaction, or
 * an earlier event of the same stream, wrote: a stream's events on one row are in version order (rule (b) of stamping).
 *
 * A local tuple whose stamp was pushed understates its version until its echo has rewritten it: an event in between may
 * take the row too early, and the echo takes it back. The tuple of another tool tells nothing at all until then. Were its
 * stamp believed where it is too high, an event would be dropped that all other regions keep, and no echo could bring it
 * back. So it counts as the lowest, and its echo decides.
 */
import { haveSameValues, type Image } from '../change/change-event.ts';
import { HLC_MAX, type Hlc, hlcFromMicros, hlcMicros } from '../change/hlc.ts';
import type { Seen } from '../change/position.ts';
import { compareVersions, VERSION_ZERO, type Version } from '../change/version.ts';
import type { Stability } from '../clock/stability.ts';
import type { ExactVersion, Guard, GuardRule, ParkedRow, Tombstone, Tuple } from './apply-port.ts';

/** Every tuple whose stamp is below the events: a stamp never understates its row for long. */
const ANY_OLDER = hlcMicros(HLC_MAX);

/**
 * Which tuples a batch's statements may replace unseen: those of the same stream, and older ones. Conflicts are judged from
 * the events that passed. Where some of these were forgotten (stamped below `lostBelow`), the row itself is the only
 * witness of a loss: then only what the events' origin had certainly seen is replaced unseen. `seen` is the least of the
 * batch's events'.
 */
export function remoteGuard(origin: string, seen: Seen, stability: Stability, lostBelow: Hlc): Guard {
  return { ...lateGuard(seen, stability, lostBelow), [origin]: 'always' };
}

/** The same for events that come behind later ones of their stream: what that wrote is no older for it. */
export function lateGuard(seen: Seen, stability: Stability, lostBelow: Hlc): Guard {
  const guard: { [writer: string]: GuardRule } = {};
  for (const member of stability.members) {
    guard[member] = lostBelow === 0n ? ANY_OLDER : hlcMicros(stability.seenBy(member, seen[member]));
  }
  return guard;
}

/** An echo never touches a local write: whatever local tuple is there now was written later. */
export function echoGuard(self: string, seen: Seen, stability: Stability, lostBelow: Hlc): Guard {
  return { ...remoteGuard(self, seen, stability, lostBelow), [self]: 'never' };
}

/** The version of a tuple: exact where an entry of its writing transaction says so, else its stamp. */
export function tupleVersion(tuple: Tuple, exact: ExactVersion | undefined): Version {
  if (tuple.foreign) return VERSION_ZERO;
  if (exact !== undefined) return { hlc: exact.hlc, origin: tuple.writer };
  if (tuple.stampMicros === null) return VERSION_ZERO;
  return { hlc: hlcFromMicros(tuple.stampMicros), origin: tuple.writer };
}

export type Current = { readonly tuple: Tuple; readonly version: Version } | null;

/** What stands over a row: its own tombstone or its table's, whichever is higher. */
export function higherTombstone(own: Tombstone | undefined, ofTable: Tombstone | undefined): Tombstone | undefined {
  if (own === undefined || ofTable === undefined) return own ?? ofTable;
  const order = compareVersions(own, ofTable);
  if (order === 0) return { ...own, also: ofTable.event_id };
  return order > 0 ? own : ofTable;
}

/** Whether an event of another region takes the row. */
export function eventWins(current: Current, tombstone: Tombstone | undefined, event: Version): boolean {
  if (current !== null && (current.tuple.own || sameStream(current, event))) return true;
  if (tombstone !== undefined && compareVersions(tombstone, event) > 0) return false;
  return current === null || compareVersions(event, current.version) > 0;
}

/** Whether an event comes behind that one, of which null is known nothing, in their transaction. */
export type IsBehind = (eventId: string | null) => boolean;

/**
 * The same of an event that is applied behind later ones of its stream, as one that had been set aside. It is compared with all that
 * is there or was removed, whoever wrote it; exact versions of such rows are kept until then. Events of one transaction share
 * a version: there, their order in it decides.
 */
export function lateEventWins(
  { current, exact, tombstone, parked }: Stands,
  event: Version,
  isBehind: IsBehind,
): boolean {
  const takes = (other: Version, eventId: string | null): boolean => {
    const order = compareVersions(event, other);
    return order > 0 || (order === 0 && isBehind(eventId));
  };
  return (
    (current === null || current.tuple.own || takes(current.version, exact?.event_id ?? null)) &&
    (tombstone === undefined ||
      (takes(tombstone, tombstone.event_id) && (tombstone.also === undefined || takes(tombstone, tombstone.also)))) &&
    (parked === undefined || takes(parked, parked.event_id))
  );
}

/**
 * Whether a row that a region has held since before all regions published the table takes the place of what is here. `since`
 * is what every event that is still on its way is above.
 *
 * A row of this region is told to the others under the version that it shows, so that counts here too. What was applied here
 * from another region by then may show a stamp that is too high, if its exact version is forgotten; but the region that wrote
 * it tells of it as well. So the first that is told takes its place, and from then on exact versions are compared. What was written by a
 * region that has been taken out, this one tells as it shows it, and for its own.
 */
export function claimTakes(
  { self, members }: { readonly self: string; readonly members: readonly string[] },
  { current, exact, tombstone }: Standing,
  claim: Version,
  since: Hlc,
): boolean {
  if (tombstone !== undefined && compareVersions(tombstone, claim) > 0) return false;
  if (current === null) return true;
  const { tuple, version } = current;
  const teller = members.includes(tuple.writer) ? tuple.writer : self;
  if (!tuple.local && teller !== self && exact === undefined && version.hlc <= since) return true;
  return compareVersions(claim, { hlc: version.hlc, origin: teller }) > 0;
}

type Standing = {
  readonly current: Current;
  readonly exact: ExactVersion | undefined;
  readonly tombstone: Tombstone | undefined;
};
type Stands = Standing & { readonly parked: ParkedRow | undefined };

/**
 * Whether an event is older than what is parked under its key. Of one version, the later event of a transaction takes the
 * place of the earlier one.
 */
export function isParkedAbove(parked: ParkedRow | undefined, event: Version): boolean {
  return parked !== undefined && compareVersions(parked, event) > 0;
}

/** Whether the echo of a local write takes the place of what is there now: only what was applied, and is older. */
export function echoTakes(current: Current, event: Version): boolean {
  return current !== null && !current.tuple.local && compareVersions(event, current.version) > 0;
}

/** What a local transaction left of a row. */
export type LocalWrite = {
  readonly version: Version;
  readonly xid: number;
  readonly commitMicros: bigint;
  readonly image: Image;
};

/**
 * Whether the echo of a local write with a pushed stamp rewrites the row: where the tuple is still the one that the
 * write left, or one applied over it that is older by version.
 *
 * A subtransaction's tuple has an id of its own and shares the commit timestamp (or another tool's origin) alone; so do
 * tuples of later transactions, where a clock stepped back or a tool repeats itself. Such a tuple is taken only where it
 * holds the very same values, so that no user sees a later write undone; the later one's echo then sets its version. And only
 * once the transaction is through: what it changed again afterwards may look like that, and is not what it left.
 */
export function echoRewrites(current: Current, write: LocalWrite): 'yes' | 'once it is through' | 'no' {
  if (current === null) return 'no';
  const { tuple, version } = current;
  if (!tuple.local) return compareVersions(write.version, version) > 0 ? 'yes' : 'no';
  if (tuple.xid === write.xid) return 'yes';
  const mayBeOfIt = tuple.foreign || tuple.stampMicros === write.commitMicros;
  return mayBeOfIt && haveSameValues(tuple.image, write.image) ? 'once it is through' : 'no';
}

/** A stamp was pushed where it is not simply the commit time. */
export function isPushed(hlc: Hlc, commitMicros: bigint): boolean {
  return hlc !== hlcFromMicros(commitMicros);
}

function sameStream(current: { readonly tuple: Tuple }, event: Version): boolean {
  return !current.tuple.local && current.tuple.writer === event.origin;
}
