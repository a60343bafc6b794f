import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { makePosition, type Position } from '../change/position.ts';
import { judgeNewest, judgeRow } from './judge-row.ts';
import { type Contender, hasSeen, type Loss, lineOf, lossesOf } from './losses.ts';

const REGIONS = ['a', 'b', 'c', 'd'];
const LEFT = { v: 'left' };
const FOUND = [undefined, null, LEFT, { v: 'another' }];

type Move = {
  readonly region: number;
  readonly hears: readonly number[];
  readonly clock: number;
  readonly shape: number;
  readonly isPushed: boolean;
  readonly found: number;
};

const move: fc.Arbitrary<Move> = fc.record({
  region: fc.nat(REGIONS.length - 1),
  hears: fc.array(fc.nat(3), { minLength: REGIONS.length, maxLength: REGIONS.length }),
  clock: fc.nat(6),
  shape: fc.nat(9),
  isPushed: fc.boolean(),
  found: fc.nat(3),
});

/** What regions with crooked clocks write to one row, each hearing of the others what it likes, in their order. */
function history(moves: readonly Move[]): Contender[] {
  const streams = REGIONS.map((): Contender[] => []);
  const heard = REGIONS.map(() => REGIONS.map(() => 0));
  const highest = REGIONS.map(() => 0n);
  for (const { region, hears, clock, shape, isPushed, found } of moves) {
    const origin = REGIONS[region] ?? '';
    const own = streams[region] ?? [];
    const seen: { [region: string]: Position } = {};
    for (const [other, stream] of streams.entries()) {
      if (other === region) continue;
      const known = heard[region] ?? [];
      known[other] = Math.min(stream.length, (known[other] ?? 0) + (hears[other] ?? 0));
      for (const { source } of stream.slice(0, known[other])) {
        seen[REGIONS[other] ?? ''] = source.position;
        if (source.hlc > (highest[region] ?? 0n)) highest[region] = source.hlc;
      }
    }
    const hlc = (highest[region] ?? 0n) + BigInt(1 + clock);
    highest[region] = hlc;
    const position = makePosition('0000000000000000001', BigInt(own.length + 1));
    const source = { origin, hlc, position, seen };
    const left = isPushed ? LEFT : undefined;
    if (shape === 0) own.push({ source, index: 0, isTruncate: true });
    else own.push({ source, index: 0, isTruncate: false, left, found: FOUND[found] });
    if (shape > 7) own.push({ source, index: 1, isTruncate: false, left, found: LEFT });
  }
  return streams.flat();
}

function streamsOf(events: readonly Contender[]): Map<string, Contender[]> {
  const streams = new Map<string, Contender[]>();
  for (const event of events) {
    const line = lineOf(event.source);
    const stream = streams.get(line) ?? [];
    streams.set(line, stream);
    const former = stream.at(-1)?.source.position === event.source.position ? stream.pop() : undefined;
    stream.push(former === undefined ? event : { ...event, found: former.found });
  }
  return streams;
}

const name = ({ source, index }: Contender): string => `${source.origin}${source.position.slice(-4)}.${index}`;

function told(losses: readonly Loss<Contender>[]): string[] {
  return losses.map(({ loser, winner }) => `${name(loser)} to ${name(winner)}`).sort();
}

const moves = fc.array(move, { maxLength: 24 });

describe('the losses of a row', () => {
  test('are the same in whichever order the events are given', () => {
    fc.assert(
      fc.property(moves, fc.infiniteStream(fc.nat(1_000)), (made, dice) => {
        const events = history(made);
        const shuffled = events
          .map((event) => ({ event, at: dice.next().value }))
          .sort((one, other) => one.at - other.at)
          .map(({ event }) => event);
        assert.deepEqual(told(lossesOf(shuffled)), told(lossesOf(events)));
      }),
      { numRuns: 1_000 },
    );
  });

  test('are found by binary searches just as by comparing all with all', () => {
    fc.assert(
      fc.property(moves, (made) => {
        const events = history(made);
        assert.deepEqual(told(judgeRow(streamsOf(events))), told(lossesOf(events)));
      }),
      { numRuns: 5_000 },
    );
  });

  test('are all seen at once where causes arrive first; some of them are overwritten knowingly later', () => {
    fc.assert(
      fc.property(moves, fc.infiniteStream(fc.nat(3)), (made, dice) => {
        const events = history(made);
        const waiting = [...streamsOf(events).values()].map((stream) => [...stream]);
        const arrived: Contender[] = [];
        const losers = new Set<string>();
        while (waiting.some((stream) => stream.length > 0)) {
          const stream = waiting[dice.next().value % waiting.length];
          const [event] = stream ?? [];
          const lacksCause = waiting.some(
            ([first]) => first !== undefined && event !== undefined && hasSeen(event, first),
          );
          if (event === undefined || lacksCause) continue;
          stream?.shift();
          arrived.push(event);
          const streams = streamsOf(arrived);
          const line = lineOf(event.source);
          const newest = (streams.get(line)?.length ?? 0) - 1;
          for (const { loser } of judgeNewest(streams, line, newest)) losers.add(name(loser));
        }
        for (const { loser } of lossesOf(events)) assert.ok(losers.has(name(loser)));
      }),
      { numRuns: 2_000 },
    );
  });

  test('of a hot row are seen without looking again and again at what is overwritten already', () => {
    const WRITES = 2_000;
    // `b` has heard nothing from `a` for long, as behind a paused link, and each goes on with its own row.
    let looks = 0;
    const counted = (origin: string, lsn: number): Contender => {
      const { source, ...event } = at(origin, BigInt(lsn * 2 + (origin === 'a' ? 0 : 1)), BigInt(lsn), {});
      return {
        ...event,
        get source() {
          looks += 1;
          return source;
        },
      };
    };
    const lines = new Map<string, Contender[]>();
    for (let lsn = 1; lsn <= WRITES; lsn += 1) {
      for (const origin of ['a', 'b']) {
        const event = counted(origin, lsn);
        const line = lineOf(event.source);
        const stream = lines.get(line) ?? [];
        stream.push(event);
        lines.set(line, stream);
        assert.ok(judgeNewest(lines, line, stream.length - 1).length <= 1);
      }
    }
    assert.ok(looks < 2 * WRITES * 200, `${looks}`);
  });

  test('of an event that nobody overwrote knowingly are told, to the highest that is concurrent with it', () => {
    const loser = at('a', 1n, 1n, {});
    const low = at('b', 2n, 1n, {});
    const high = at('b', 3n, 2n, {});
    assert.deepEqual(lossesOf([loser, low, high]), [{ loser, winner: high }]);
    // Whoever saw the loser stand has overwritten it, and loses in its place.
    const knowing = at('c', 2n, 1n, { a: 1n });
    assert.deepEqual(lossesOf([loser, low, high, knowing]), [{ loser: knowing, winner: high }]);
    // Whoever saw it beaten already has overwritten what had beaten it.
    const late = at('c', 4n, 1n, { a: 1n, b: 1n });
    assert.deepEqual(lossesOf([loser, low, high, late]), [
      { loser, winner: high },
      { loser: high, winner: late },
    ]);
  });

  test('are told of an event that two regions saw beaten, each by what the other had not seen', () => {
    const loser = at('a', 1n, 1n, {});
    const [one, other] = [at('b', 2n, 1n, {}), at('c', 3n, 1n, {})];
    const behindOne = at('b', 4n, 2n, { a: 1n });
    const behindOther = at('c', 5n, 2n, { a: 1n });
    assert.deepEqual(lossesOf([loser, one, other, behindOne, behindOther]), [
      { loser, winner: other },
      { loser: behindOne, winner: behindOther },
    ]);
  });
});

function at(origin: string, hlc: bigint, lsn: bigint, seen: { readonly [region: string]: bigint }): Contender {
  const place = (of: bigint): Position => makePosition('0000000000000000001', of);
  const had = Object.fromEntries(Object.entries(seen).map(([region, of]) => [region, place(of)]));
  return { source: { origin, hlc, position: place(lsn), seen: had }, index: 0, isTruncate: false };
}

describe('a write with a pushed stamp', () => {
  const source = (
    origin: string,
    lsn: number,
    hlc: bigint,
    seen: { [origin: string]: Position } = {},
  ): Contender['source'] => ({
    origin,
    hlc,
    position: makePosition('0000000000000000001', BigInt(lsn)),
    seen,
  });
  const pushed = {
    source: source('eu', 1, 900n),
    index: 0,
    isTruncate: false,
    left: { v: 'pushed' },
    found: { v: 'a' },
  };
  const older = { source: source('us', 5, 500n), index: 0, isTruncate: false };
  const after = source('eu', 2, 1_000n, { us: older.source.position });

  test('that the next one did not find in place is lost to that one', () => {
    for (const found of [{ v: 'us' }, null]) {
      const next = { source: after, index: 0, isTruncate: false, found };
      assert.deepEqual(told(lossesOf([pushed, older, next])), ['eu0001.0 to eu0002.0', 'us0005.0 to eu0001.0']);
    }
  });

  test('is not where the next one found it, emptied the table, or where something above it took its place', () => {
    const finding = { source: after, index: 0, isTruncate: false, found: { v: 'pushed' } };
    assert.deepEqual(told(lossesOf([pushed, older, finding])), ['us0005.0 to eu0001.0']);
    assert.deepEqual(told(lossesOf([pushed, older, { source: after, index: 0, isTruncate: true }])), [
      'us0005.0 to eu0001.0',
    ]);
    const higher = { ...older, source: { ...older.source, hlc: 950n } };
    const next = { source: after, index: 0, isTruncate: false, found: { v: 'us' } };
    assert.deepEqual(told(lossesOf([pushed, higher, next])), ['eu0001.0 to us0005.0']);
  });
});
