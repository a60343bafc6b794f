import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../change/hlc.ts';
import { makePosition } from '../change/position.ts';
import type { Version } from '../change/version.ts';
import type { Tuple } from './apply-port.ts';
import { type Current, claimTakes, echoRewrites, type IsBehind, lateEventWins, tupleVersion } from './decide.ts';

const DECIDED = 1_000n;
const NOWHERE = makePosition('0'.repeat(19), 0n);

function tuple(changes: Partial<Tuple>): Tuple {
  return { xid: 7, stampMicros: DECIDED, writer: 'a', local: true, foreign: false, own: false, image: {}, ...changes };
}

describe('the tuple of a write whose stamp was pushed', () => {
  const image = { id: '1', v: 'x' };
  const write = {
    version: { hlc: hlcFromMicros(DECIDED + 5n), origin: 'a' },
    xid: 7,
    commitMicros: DECIDED,
    image,
  };
  const shown = (changes: Partial<Tuple>): Current => {
    const standing = tuple({ image, ...changes });
    return { tuple: standing, version: tupleVersion(standing, undefined) };
  };

  test('is rewritten at once where the write itself left it, or an older event of another region took its place', () => {
    assert.equal(echoRewrites(shown({}), write), 'yes');
    assert.equal(echoRewrites(shown({ xid: 9, local: false, writer: 'b' }), write), 'yes');
  });

  test('is rewritten once the transaction is through where a subtransaction may have left it', () => {
    assert.equal(echoRewrites(shown({ xid: 8 }), write), 'once it is through');
    assert.equal(echoRewrites(shown({ xid: 8, foreign: true, stampMicros: 3n }), write), 'once it is through');
  });

  test('is left where it holds other values, was committed at another time, or is newer', () => {
    assert.equal(echoRewrites(shown({ xid: 8, image: { id: '1', v: 'y' } }), write), 'no');
    assert.equal(echoRewrites(shown({ xid: 8, stampMicros: DECIDED + 1n }), write), 'no');
    assert.equal(echoRewrites(shown({ xid: 9, local: false, writer: 'b', stampMicros: DECIDED + 9n }), write), 'no');
    assert.equal(echoRewrites(null, write), 'no');
  });
});

describe('an event that comes behind later ones of its stream', () => {
  const [LOW, MIDDLE, HIGH] = [500n, 700n, 900n].map(hlcFromMicros);
  const event: Version = { hlc: MIDDLE ?? 0n, origin: 'b' };
  const behind: IsBehind = (eventId) => eventId === 'earlier';
  const nothing = { current: null, exact: undefined, tombstone: undefined, parked: undefined };
  const side = (hlc: bigint | undefined, event_id: string | null) => ({
    hlc: hlc ?? 0n,
    origin: 'b',
    position: NOWHERE,
    event_id: event_id ?? '',
  });
  /** Each of the places where a version can stand against it. */
  const against = (hlc: bigint | undefined, event_id: string | null) => {
    const exact = side(hlc, event_id);
    const standing = tuple({ local: false, writer: 'b' });
    const current = { tuple: standing, version: tupleVersion(standing, exact) };
    const row = { key: '["1"]', pk: { id: '1' }, image: {}, blocker: '' };
    return [
      { ...nothing, current, exact },
      { ...nothing, tombstone: { key: '["1"]', ...side(hlc, event_id) } },
      { ...nothing, parked: { ...row, ...side(hlc, event_id) } },
    ];
  };
  const wins = (rows: ReturnType<typeof against>): boolean[] => rows.map((row) => lateEventWins(row, event, behind));

  test('wins over what is older, also of its own stream, and over nothing', () => {
    assert.deepEqual(wins(against(LOW, 'any')), [true, true, true]);
    assert.equal(lateEventWins(nothing, event, behind), true);
  });

  test('leaves what is newer, also where its own stream wrote or removed it', () => {
    assert.deepEqual(wins(against(HIGH, 'earlier')), [false, false, false]);
  });

  test('goes by their order where its own transaction wrote or removed it', () => {
    assert.deepEqual(wins(against(MIDDLE, 'earlier')), [true, true, true]);
    assert.deepEqual(wins(against(MIDDLE, 'later')), [false, false, false]);
  });
});

describe('a row that a region tells of', () => {
  const SINCE = hlcFromMicros(DECIDED + 100n);
  const members = ['a', 'b', 'c'];
  /** Whether it takes the place of what the region `b` shows. */
  const takes = (claim: Version, shown: Partial<Tuple>): boolean => {
    const standing = tuple(shown);
    const current = { tuple: standing, version: tupleVersion(standing, undefined) };
    return claimTakes({ self: 'b', members }, { current, exact: undefined, tombstone: undefined }, claim, SINCE);
  };
  const older: Version = { hlc: hlcFromMicros(DECIDED - 1n), origin: 'c' };

  test('takes the place of what another region wrote, which tells of that as well', () => {
    assert.equal(takes(older, { local: false, writer: 'a' }), true);
    assert.equal(takes(older, { local: true, writer: 'b' }), false);
  });

  test('leaves what is newer of a region that was taken out, as all who hold that tell of it', () => {
    assert.equal(takes(older, { local: false, writer: 'd' }), false);
    assert.equal(takes({ ...older, hlc: hlcFromMicros(DECIDED + 1n) }, { local: false, writer: 'd' }), true);
  });

  test('of two of one time that such a region wrote, those are compared that tell of them', () => {
    const claim = { hlc: hlcFromMicros(DECIDED), origin: 'c' };
    assert.equal(takes(claim, { local: false, writer: 'd' }), true);
    assert.equal(takes({ ...claim, origin: 'a' }, { local: false, writer: 'd' }), false);
  });
});
