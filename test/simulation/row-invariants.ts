/** Invariants of rows at the end: every region holds the fold, and every loss is in a conflict log. */

import type { ConflictEntry } from '../../src/apply/apply-port.ts';
import { conflictId } from '../../src/apply/conflicts.ts';
import type { Image } from '../../src/change/change-event.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
import { positionEpoch, positionLsn } from '../../src/change/position.ts';
import { compareVersions, isAbove, VERSION_ZERO, type Version } from '../../src/change/version.ts';
import { type FoldEvent, foldRow } from '../../src/resolve/fold.ts';
import { partRows } from '../../src/resolve/parking.ts';
import type { Failure } from './invariants.ts';
import { claimsSame } from './model-database.ts';
import { CLAIMS, modelShape, rowName } from './model-store.ts';
import { areConcurrent, eventsByRow, follows, type Published, type RowEvent } from './published.ts';
import type { Region } from './region.ts';
import type { Conditions } from './world-view.ts';

const LOWEST = { hlc: VERSION_ZERO.hlc + 1n, origin: '' };

export function checkRows(
  regions: readonly Region[],
  published: Published,
  table: string,
  conditions: Conditions,
): Failure | null {
  const events = eventsByRow(published, table, conditions.baseline);
  return (
    checkFold(regions, events, table, conditions) ??
    checkQuarantine(regions) ??
    checkLosses(regions, events, table, conditions) ??
    checkHidden(regions, events, table, conditions) ??
    checkConflicts(regions, events, table, conditions)
  );
}

type Folded = { readonly key: string; readonly image: Image; readonly version: Version };

function checkFold(
  regions: readonly Region[],
  events: Map<string, RowEvent[]>,
  table: string,
  { baseline }: Conditions,
): Failure | null {
  const shape = modelShape('public', table);
  const before = new Map(
    baseline
      .filter((row) => row.table === table)
      .map(({ image }) => [rowName(shape, JSON.stringify([image.id])), fromBefore(image)]),
  );
  const folded: Folded[] = [];
  for (const key of new Set([...before.keys(), ...events.keys()])) {
    const row = (events.get(key) ?? []).map(({ hlc, origin, ...event }) => ({ ...event, version: { hlc, origin } }));
    const fold = [...(before.get(key) ?? []), ...row];
    const image = foldRow(fold, VERSION_ZERO);
    const version = fold.reduce<Version>(
      (high, event) => (isAbove(event.version, high) ? event.version : high),
      VERSION_ZERO,
    );
    if (image !== null) folded.push({ key, image, version });
  }
  const { visible, parked } = partRows(folded, (a, b) => claimsSame(a.image, b.image));
  const expected = tell(visible.map(({ image }) => image));
  const expectedParked = tell(parked.map(({ image }) => image));
  for (const { name, database, store } of regions) {
    const actual = tell([...database.table(table).slots.values()].map(({ tuple }) => tuple?.image ?? null));
    if (actual !== expected) {
      const message = `${name}.${table} holds ${actual}, the fold of all events is ${expected}`;
      return { invariant: 'converges', message };
    }
    const kept = [...store.parked.values()].filter((row) => row.table === table);
    const actualParked = tell(kept.map(({ image }) => image));
    if (actualParked === expectedParked) continue;
    const message = `of ${table}, ${name} parks ${actualParked}; the rows above leave no room for ${expectedParked}`;
    return { invariant: 'parks-alike', message };
  }
  return null;
}

/** A row of the baseline as the lowest of all events. */
function fromBefore(after: Image): FoldEvent[] {
  return [{ version: LOWEST, position: '', index: 0, seen: {}, before: null, after }];
}

function tell(images: readonly (Image | null)[]): string {
  const rows = images
    .filter((image) => image !== null)
    .map(({ id, v, u, w }) => `${id}=${v}${u == null ? '' : `/${u}`}${w == null ? '' : `/${w}`}`);
  return rows.sort().join(' ') || 'nothing';
}

function checkQuarantine(regions: readonly Region[]): Failure | null {
  for (const { name, store } of regions) {
    for (const { event, error } of store.quarantine.values()) {
      return { invariant: 'quarantine-empty', message: `${name} set aside ${event}: ${error}` };
    }
  }
  return null;
}

/** The last event of each transaction on the row: the others of it are its own earlier versions. */
function lastOfTransactions(events: readonly RowEvent[]): RowEvent[] {
  const last = new Map<string, RowEvent>();
  for (const event of events) {
    const id = `${event.origin} ${event.position}`;
    const known = last.get(id);
    if (known === undefined || event.index >= known.index) last.set(id, event);
  }
  return [...last.values()];
}

/** An event lost to a higher concurrent one, unless an event that has seen it is concurrent with that one too. */
function losesTo(loser: RowEvent, winner: RowEvent, all: readonly RowEvent[]): boolean {
  if (!areConcurrent(loser, winner) || !isAbove(winner, loser)) return false;
  return !all.some((carrier) => carrier !== loser && follows(carrier, loser) && areConcurrent(carrier, winner));
}

function checkLosses(
  regions: readonly Region[],
  events: Map<string, RowEvent[]>,
  table: string,
  conditions: Conditions,
): Failure | null {
  const shape = modelShape('public', table);
  for (const [row, every] of events) {
    const all = lastOfTransactions(every);
    for (const loser of all) {
      if (loser.isTruncate) continue;
      const home = regions.find(({ name }) => name === loser.origin);
      if (home === undefined) continue;
      // A removal leaves no row to tell of it: where it is not remembered, an upsert does not meet it.
      if (loser.after === null && !isRemembered(home, loser, conditions)) continue;
      // A row does not tell in which epoch of its region it was written: between two of them, memory alone judges.
      const isKnown = isRemembered(home, loser, conditions);
      const winners = all.filter(
        (winner) =>
          losesTo(loser, winner, all) &&
          isRemembered(home, winner, conditions) &&
          (isKnown || winner.origin !== loser.origin),
      );
      if (winners.length === 0) continue;
      const highest = winners.reduce((a, b) => (compareVersions(a, b) > 0 ? a : b));
      const key = row.slice(shape.id.length + 1);
      if (home.store.conflicts.has(conflictId(shape.id, key, loser))) continue;
      const message = `${tellEvent(loser)} lost ${row} to ${tellEvent(highest)}, and ${loser.origin} does not tell`;
      return { invariant: 'losses-recorded', message };
    }
  }
  return null;
}

/**
 * Own writes of a region that the next one on the row did not see, because an event that is older by version had taken the
 * row of a pushed one before its echo. Not all of them can be told for certain.
 */
function hiddenWrites(
  { name, truth }: Region,
  row: string,
  events: readonly RowEvent[],
  certainly: boolean,
): RowEvent[] {
  const own = events.filter(({ origin }) => origin === name);
  // A region that was restored has two histories, whose places in the WAL do not tell which.
  if (new Set(own.map(({ position }) => positionEpoch(position))).size > 1) return certainly ? [] : own;
  const hidden: RowEvent[] = [];
  const eventsAt = (origin: string, lsn: bigint): RowEvent[] =>
    events.filter((event) => event.origin === origin && positionLsn(event.position) === lsn);
  const history = truth.rows.get(row) ?? [];
  for (const [place, write] of history.entries()) {
    if (!write.local) continue;
    const isItsEcho = (later: (typeof history)[number]): boolean =>
      !later.local && later.origin === name && (later.position === null || positionLsn(later.position) >= write.lsn);
    const next = history.findIndex((later, at) => at > place && (later.local || isItsEcho(later)));
    const between = history.slice(place + 1, next).map((applied) => {
      if (applied.local || applied.position === null) return undefined;
      return eventsAt(applied.origin, positionLsn(applied.position)).at(-1);
    });
    const later = history[next];
    const left = eventsAt(name, write.lsn).at(-1);
    const found = later?.local === true ? eventsAt(name, later.lsn)[0] : undefined;
    if (left === undefined || left.after === null || later?.local !== true || found === undefined) continue;
    const { lsn } = later;
    const isEmptied = events.some(({ origin, position, isTruncate }) => {
      return isTruncate && origin === name && positionLsn(position) >= write.lsn && positionLsn(position) <= lsn;
    });
    const isOlder = between.every((event) => event !== undefined && isAbove(left, event));
    if (between.length === 0 || (certainly && (isEmptied || !isOlder))) continue;
    const before = found.before?.id === left.after.id ? found.before : null;
    if (before?.v !== left.after.v || before?.u !== left.after.u) hidden.push(left);
  }
  return hidden;
}

function checkHidden(
  regions: readonly Region[],
  events: Map<string, RowEvent[]>,
  table: string,
  conditions: Conditions,
): Failure | null {
  const shape = modelShape('public', table);
  for (const region of regions) {
    for (const [row, all] of events) {
      for (const write of hiddenWrites(region, row, all, true)) {
        if (!all.every((event) => isRemembered(region, event, conditions))) continue;
        const key = row.slice(shape.id.length + 1);
        if (region.store.conflicts.has(conflictId(shape.id, key, write))) continue;
        const message = `${tellEvent(write)} on ${row} was overwritten by one that did not see it, and ${region.name} does not tell`;
        return { invariant: 'losses-recorded', message };
      }
    }
  }
  return null;
}

function checkConflicts(
  regions: readonly Region[],
  events: Map<string, RowEvent[]>,
  table: string,
  conditions: Conditions,
): Failure | null {
  const shape = modelShape('public', table);
  for (const region of regions) {
    for (const conflict of region.store.conflicts.values()) {
      if (conflict.table_name !== table) continue;
      const row = rowName(shape, JSON.stringify([conflict.row_pk.id]));
      const all = events.get(row) ?? [];
      if (hiddenWrites(region, row, all, false).some((hidden) => compareVersions(hidden, conflict.loser) === 0))
        continue;
      const wrong = whatIsWrong(conflict, lastOfTransactions(all), region, conditions);
      if (wrong === null) continue;
      const message = `${region.name} has a conflict on ${row} of ${tellVersion(conflict.loser)} with ${tellVersion(conflict.winner)}: ${wrong}`;
      return { invariant: 'conflicts-real', message };
    }
  }
  return null;
}

function whatIsWrong(
  { loser, winner, table_name }: ConflictEntry,
  events: readonly RowEvent[],
  region: Region,
  conditions: Conditions,
): string | null {
  const lost = events.find((event) => compareVersions(event, loser) === 0);
  const won = events.find((event) => compareVersions(event, winner) === 0);
  if (lost === undefined || won === undefined) {
    // A local row of which the lane remembers nothing goes by its commit timestamp, also where its stamp was pushed.
    const isLocal = region.database.wal.some(({ commitMicros }) => hlcFromMicros(commitMicros) === loser.hlc);
    return conditions.badClocks || (loser.origin === region.name && isLocal) ? null : 'there is no such event';
  }
  if (!isAbove(winner, loser)) return 'the lower one won';
  if (areConcurrent(lost, won)) return null;
  // A write whose row was parked before its echo was hidden from the next one of its key, as one that was overwritten is.
  if (lost.origin === won.origin && table_name === CLAIMS) return null;
  // Of what it does not remember a lane cannot always tell; then a conflict too many is right.
  // Whether an own write was hidden from the next depends on all that came in between.
  const concerned = lost.origin === won.origin ? events : [lost, won];
  const isCertain = concerned.every((event) => isRemembered(region, event, conditions));
  return isCertain ? 'they are not concurrent' : null;
}

/** Whether every lane of the region remembered the event, once it had passed. */
function isRemembered(
  { truth }: Region,
  { origin, position, transactionRows }: RowEvent,
  conditions: Conditions,
): boolean {
  return (
    transactionRows <= conditions.giantRows && truth.forgotten.every((lane) => position > (lane.get(origin) ?? ''))
  );
}

function tellVersion({ hlc, origin }: { readonly hlc: bigint; readonly origin: string }): string {
  return `${origin} ${hlc}`;
}

function tellEvent(event: RowEvent): string {
  return `${tellVersion(event)} (${event.position.slice(-4)})`;
}
