import assert from 'node:assert/strict';
import { test } from 'node:test';
import { positionOf } from '../../test/support/stream-records.ts';
import { type ChangeEvent, type Image, microsToIso } from '../change/change-event.ts';
import { hlcFromMicros } from '../change/hlc.ts';
import type { Seen } from '../change/position.ts';
import { earlyOverwrites } from './early-overwrites.ts';
import type { ChainLink } from './net-change.ts';
import { RecentEvents, toRecent } from './recent-events.ts';

const SHAPE = {
  id: 't',
  schema: 'public',
  table: 't',
  key: ['id'],
  columns: ['id', 'v'],
  keyNeedsDatabase: false,
  hasClaims: false,
};
const KEY = '["1"]';
const PK = { id: '1' };

type Write = {
  readonly origin?: string;
  readonly lsn: number;
  /** Commit time and stamp in µs; they differ where the stamp was pushed. */
  readonly at: bigint;
  readonly stamp?: bigint;
  readonly from: string | null;
  readonly to: string | null;
  readonly seen?: Seen;
};

function link({ origin = 'eu', lsn, at, stamp = at, from, to, seen = {} }: Write): ChainLink {
  const image = (v: string | null): Image | null => (v === null ? null : { id: '1', v });
  const event = {
    event_id: `${origin} ${lsn}`,
    region_id: origin,
    schema_name: 'public',
    table_name: 't',
    row_pk: PK,
    operation: from === null ? 'INSERT' : to === null ? 'DELETE' : 'UPDATE',
    before_image: image(from),
    after_image: image(to),
    committed_at: microsToIso(at),
  } as unknown as ChangeEvent;
  const source = {
    position: positionOf(lsn),
    hlc: hlcFromMicros(stamp),
    seen,
    xid: lsn,
    committed_at: microsToIso(at),
  };
  return { event, source: { ...source, events: [event] }, removes: to === null };
}

/** What is found among the own writes, the last of them being new, given what of others passed. */
function losers(own: readonly Write[], others: readonly Write[] = [], emptiedAt?: number): string[] {
  const recent = new RecentEvents();
  for (const write of [...others, ...own.slice(0, -1)]) recent.add('t', KEY, PK, [link(write)], 1n);
  const chain = own.slice(-1).map((write) => toRecent(link(write)));
  const emptied = emptiedAt === undefined ? undefined : positionOf(emptiedAt);
  return earlyOverwrites(SHAPE, KEY, chain, recent, { before: undefined, emptiedAt: emptied }).map(
    ({ loser }) => loser.event.event_id,
  );
}

const PUSHED: Write = { lsn: 1, at: 100n, stamp: 900n, from: 'a', to: 'pushed' };
const OLDER: Write = { origin: 'us', lsn: 5, at: 500n, from: 'a', to: 'us' };
const SAW_OLDER: Write = { lsn: 2, at: 1_000n, from: 'us', to: 'c', seen: { us: positionOf(5) } };

test('a pushed write that the next one did not find in place is lost', () => {
  assert.deepEqual(losers([PUSHED, SAW_OLDER], [OLDER]), ['eu 1']);
  assert.deepEqual(losers([PUSHED, { ...SAW_OLDER, from: null }], [{ ...OLDER, to: null }]), ['eu 1']);
});

test('it is not where the next one found it, or where something above it took its place', () => {
  assert.deepEqual(losers([PUSHED, { ...SAW_OLDER, from: 'pushed' }], [OLDER]), []);
  assert.deepEqual(losers([PUSHED, SAW_OLDER], [{ ...OLDER, at: 950n }]), []);
});

test('nothing takes the place of a write too early that says what it is', () => {
  assert.deepEqual(losers([{ ...PUSHED, stamp: 100n }, SAW_OLDER], [OLDER]), []);
});

test('a removal hides nothing, and nor does whoever emptied the table', () => {
  assert.deepEqual(losers([{ ...PUSHED, to: null }, SAW_OLDER], [OLDER]), []);
  assert.deepEqual(losers([PUSHED, { ...SAW_OLDER, from: null }], [OLDER], 2), []);
});
