import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePosition } from '../../change/position.ts';
import { LAST_WRITER_WINS } from '../../resolve/merge-rule.ts';
import { HistoryPacking } from './history-packing.ts';
import type { HistoryEvent } from './merged-row.ts';

const POSITION = makePosition('1700000000000000000', 2n ** 40n);
const PLAIN: HistoryEvent = {
  version: { hlc: 2n ** 62n, origin: 'eu' },
  position: POSITION,
  index: 3,
  event_id: '01234567-89ab-7def-8123-456789abcdef',
  seen: { us: POSITION },
  before: null,
  after: { id: '1', note: 'grüße 語 🙂 "quoted"\n', none: null },
  merge: undefined,
};

test('events are the same behind it, and go by the very same rules', () => {
  const packing = new HistoryPacking();
  const [one, other] = [{ ...LAST_WRITER_WINS }, { ...LAST_WRITER_WINS, table: 'public.other' }];
  const events: HistoryEvent[] = [
    PLAIN,
    { ...PLAIN, index: 4, before: PLAIN.after, after: null, merge: 'v1', rule: one },
    { ...PLAIN, index: 5, seen: {}, merge: 'v2', merge_shadow: 'v1', rule: other },
    { ...PLAIN, index: 6, merge: 'v1', rule: one },
  ];
  const unpacked = packing.unpack(packing.pack(events));
  assert.deepEqual(unpacked, events);
  assert.deepEqual(
    unpacked.map(({ rule }) => rule),
    events.map(({ rule }) => rule),
  );
  assert.ok(unpacked[1]?.rule === one && unpacked[2]?.rule === other && unpacked[3]?.rule === one);
});

test('an event with large images is large', () => {
  const packing = new HistoryPacking();
  const large = { id: '1', text: 'x'.repeat(100_000) };
  assert.deepEqual(
    [PLAIN, { ...PLAIN, before: large }, { ...PLAIN, after: large }].map((event) => packing.isLarge(event)),
    [false, true, true],
  );
});

test('many events of one row take a fifth of what they are as text, or less', () => {
  const packing = new HistoryPacking();
  const events = Array.from({ length: packing.events }, (_, n): HistoryEvent => {
    const position = makePosition('1700000000000000000', BigInt(5_000 + n * 120));
    return { ...PLAIN, version: { hlc: BigInt(n) << 20n, origin: 'eu' }, position, after: { id: '1', n: String(n) } };
  });
  const text = JSON.stringify(events.map(({ version, ...event }) => ({ ...event, hlc: String(version.hlc) })));
  const packed = packing.pack(events);
  assert.equal(packed.buffer.byteLength, packed.byteLength, 'no part of a larger buffer');
  assert.ok(packed.byteLength * 5 < text.length, `${packed.byteLength} of ${text.length}`);
});
