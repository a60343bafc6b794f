// What the parts of the apply port's contract suite share: rows, versions and positions made from
// small numbers, guards, and a transaction around a piece of work.

import assert from 'node:assert/strict';
import type {
  ApplyTransaction,
  Guard,
  LookAgain,
  PrunedTo,
  QuarantineEntry,
  TableShape,
  UpsertRow,
  VersionEntry,
} from '../../src/apply/apply-port.ts';
import type { Image } from '../../src/change/change-event.ts';
import { eventId } from '../../src/change/event-id.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import { makePosition, type Position } from '../../src/change/position.ts';
import { rowKey } from '../../src/change/row-key.ts';
import type { ApplyPortHarness, HarnessOptions, KvRow, MakeHarness } from './apply-port-harness.ts';

/** A moment well in the past, in Unix µs: below every stamp that a foreground session gets. */
export const PAST = 1_700_000_000_000_000n;
/** One well in the future. */
export const FUTURE = 4_000_000_000_000_000n;
export const PAST_HLC: Hlc = hlcFromMicros(PAST);
export const FUTURE_HLC: Hlc = hlcFromMicros(FUTURE);

export const EPOCH = '0000000000000000001';

/** More than any test has of anything. */
export const NO_LIMIT = 1_000_000;
/** Nothing was confirmed by the slot, or has come back. */
export const NOT_YET: PrunedTo = { confirmedLsn: 0n, echoedLsn: 0n };

/** Whatever is there may be replaced. */
export const ALL: Guard = { home: 'always', r1: 'always', r2: 'always', r3: 'always' };
/** Nothing that is there may be replaced. */
export const NONE: Guard = {};

export function at(lsn: number, epoch = EPOCH): Position {
  return makePosition(epoch, BigInt(lsn));
}

export function idOf(lsn: number, origin = 'r1'): string {
  return eventId(PAST_HLC, origin, at(lsn), 0);
}

export function pkOf(id: number): Image {
  return { id: String(id) };
}

export function keyOf(id: number): string {
  return rowKey({ key: ['id'] }, pkOf(id));
}

export function keyed(id: number): { key: string; pk: Image } {
  return { key: keyOf(id), pk: pkOf(id) };
}

export function row(id: number, v: string | null, hlc: Hlc = FUTURE_HLC, u: string | null = null): UpsertRow {
  return { ...keyed(id), image: { id: String(id), v, u }, hlc };
}

export function removal(id: number, hlc: Hlc = FUTURE_HLC): { key: string; pk: Image; hlc: Hlc } {
  return { ...keyed(id), hlc };
}

export function entry(id: number, hlc: Hlc, lsn: number): VersionEntry {
  return { key: keyOf(id), hlc, position: at(lsn), event_id: idOf(lsn) };
}

export function look(id: number, hlc: Hlc = PAST_HLC): LookAgain {
  return { table: { schema: 'public', table: 'kv' }, ...keyed(id), version: { hlc, origin: 'r1' }, restores: null };
}

export function quarantined(n: number, id: number, hlc: bigint, error = 'because'): QuarantineEntry {
  return {
    event_id: idOf(n),
    origin: 'r1',
    schema_name: 'public',
    table_name: 'kv',
    key: keyOf(id),
    row_pk: pkOf(id),
    hlc,
    position: at(n),
    event: JSON.stringify({ event_id: idOf(n), more: ['"quoted"', null] }),
    sqlstate: '23514',
    error,
  };
}

export function kv(id: number, v: string | null, u: string | null = null): KvRow {
  return { id, v, u };
}

export async function kvShape(harness: ApplyPortHarness): Promise<TableShape> {
  const shape = await harness.port.shape('public', 'kv');
  assert.ok(shape !== null, 'public.kv is there');
  return shape;
}

/** Begins, works and commits; rolls back where the work fails. */
export async function applying<T>(
  harness: ApplyPortHarness,
  origin: string,
  stampMicros: bigint,
  work: (transaction: ApplyTransaction, shape: TableShape) => Promise<T>,
): Promise<T> {
  const shape = await kvShape(harness);
  const transaction = await harness.port.begin(origin, stampMicros);
  try {
    const result = await work(transaction, shape);
    await transaction.commit();
    return result;
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
}

/** Begins, works and takes it all back. */
export async function trying<T>(
  harness: ApplyPortHarness,
  origin: string,
  work: (transaction: ApplyTransaction, shape: TableShape) => Promise<T>,
): Promise<T> {
  const shape = await kvShape(harness);
  const transaction = await harness.port.begin(origin, PAST);
  try {
    return await work(transaction, shape);
  } finally {
    await transaction.rollback();
  }
}

/** Puts a row there as a batch of that origin does. */
export async function put(harness: ApplyPortHarness, origin: string, stampMicros: bigint, id: number, v: string) {
  await applying(harness, origin, stampMicros, async (transaction, shape) => {
    const untouched = await transaction.upsert(shape, [row(id, v, hlcFromMicros(stampMicros))], origin, ALL);
    assert.deepEqual(untouched, []);
  });
}

/** The commit timestamp of a row that has one. */
export async function stampOf(harness: ApplyPortHarness, id: number): Promise<bigint> {
  const stampMicros = (await harness.tuple(id))?.stampMicros;
  assert.ok(typeof stampMicros === 'bigint', `row ${id} has a stamp`);
  return stampMicros;
}

/** A test body with a harness of its own. */
export function withHarness(
  make: MakeHarness,
  work: (harness: ApplyPortHarness) => Promise<void>,
  options: HarnessOptions = { lockWaits: 'long' },
): () => Promise<void> {
  return async () => {
    await using harness = await make(options);
    await work(harness);
  };
}

/** Writes rows 1 and 2 with exact versions; returns the batch's xid. */
export async function recorded(h: ApplyPortHarness, stampMicros: bigint): Promise<number> {
  return await applying(h, 'r1', stampMicros, async (t, shape) => {
    await t.upsert(shape, [row(1, 'a'), row(2, 'b')], 'r1', ALL);
    await t.recordVersions(shape, [entry(1, hlcFromMicros(stampMicros) - 7n, 11), entry(2, 42n, 12)]);
    return (await t.note({ origin: 'r1', seen: { r1: at(12) }, max_hlc: hlcFromMicros(stampMicros) })).xid;
  });
}
