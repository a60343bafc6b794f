import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makePosition, type Position } from '../change/position.ts';
import { compareVersions, type Version } from '../change/version.ts';
import { EventRun, type Packing } from './event-run.ts';
import { compareEvents, type FoldEvent } from './fold.ts';
import { type Observer, unknownToAny, weakest } from './heads.ts';

const EPOCHS = ['0000000000000000001', '0000000000000000002'];
const ORIGINS = ['a', 'b', 'c'];

/** Packs what JSON can hold of them, as bytes. */
function packing(events: number): Packing<FoldEvent> {
  const kept: FoldEvent[] = [];
  return {
    events,
    isLarge: ({ index }) => index === 1,
    pack: (some) => Uint8Array.from(some.map((event) => kept.push(event) - 1)),
    unpack: (bytes) => [...bytes].map((place) => kept[place] as FoldEvent),
  };
}

const positions: fc.Arbitrary<Position> = fc
  .tuple(fc.constantFrom(...EPOCHS), fc.integer({ min: 1, max: 5 }))
  .map(([epoch, lsn]) => makePosition(epoch, BigInt(lsn)));
const seen = fc.dictionary(fc.constantFrom(...ORIGINS), positions);
const origins = fc.constantFrom(...ORIGINS);

const events: fc.Arbitrary<FoldEvent> = fc
  .record({ hlc: fc.integer({ min: 1, max: 30 }), origin: origins, position: positions, index: fc.nat(1), seen })
  .map(({ hlc, origin, position, index, seen: known }) => {
    return { version: { hlc: BigInt(hlc), origin }, position, index, seen: known, before: null, after: null };
  });

const observers: fc.Arbitrary<Observer> = fc.record({ origin: origins, position: positions, seen });
const heads = fc.dictionary(
  fc.tuple(fc.constantFrom(...EPOCHS), origins).map(([epoch, origin]) => `${epoch} ${origin}`),
  positions,
);

test('the weakest of observers know what all of them know', () => {
  fc.assert(
    fc.property(fc.array(observers, { maxLength: 8 }), heads, (some, known) => {
      assert.deepEqual(unknownToAny(weakest(some), known), unknownToAny(some, known));
    }),
  );
});

test('all but the newest are packed, each once where they come in order', () => {
  let packed = 0;
  const pack = (some: readonly FoldEvent[]): Uint8Array => {
    packed += some.length;
    return new Uint8Array();
  };
  const run = new EventRun<FoldEvent>({ ...packing(4), pack });
  for (let n = 1n; n <= 200n; n += 1n) {
    const position = makePosition('0000000000000000001', n);
    run.insert({ version: { hlc: n, origin: 'a' }, position, index: 0, seen: {}, before: null, after: null });
    run.pack();
    assert.ok(run.length - packed < 8 && run.length >= packed);
  }
});

test('of very many events that are not packed the first are found too', () => {
  const run = new EventRun<FoldEvent>(null);
  const position = makePosition('0000000000000000001', 1n);
  for (let n = 1n; n <= 200_000n; n += 1n)
    run.insert({ version: { hlc: n, origin: 'a' }, position, index: 0, seen: {}, before: null, after: null });
  assert.equal(run.first(() => true).length, 200_000);
});

test('is what a list of the same events is, whatever is packed', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('insert' as const), event: events }),
    fc.record({ kind: fc.constant('insert' as const), event: events }),
    fc.record({ kind: fc.constant('pack' as const) }),
    fc.record({ kind: fc.constant('drop' as const), count: fc.nat(6) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.array(step, { maxLength: 40 }),
      fc.nat(30),
      heads,
      (size, steps, from, known) => {
        const run = new EventRun<FoldEvent>(packing(size));
        let list: FoldEvent[] = [];
        for (const each of steps) {
          if (each.kind === 'pack') run.pack();
          else if (each.kind === 'drop') {
            const count = Math.min(each.count, list.length);
            run.drop(count);
            list = list.slice(count);
          } else {
            const isHere = list.some((other) => compareEvents(other, each.event) === 0);
            const place = list.filter((other) => compareEvents(other, each.event) < 0).length;
            if (!isHere) list.splice(place, 0, each.event);
            assert.equal(run.insert(each.event), isHere ? null : place);
          }
          assert.deepEqual([run.length, run.newest], [list.length, list.at(-1)]);
        }
        assert.deepEqual(run.slice(0), list);
        assert.deepEqual(run.slice(from, from + 5), list.slice(from, from + 5));
        const version: Version = { hlc: BigInt(from), origin: 'b' };
        const isSuch = (event: FoldEvent): boolean => compareVersions(event.version, version) <= 0;
        assert.deepEqual(run.first(isSuch), list.filter(isSuch));
        assert.equal(run.countUpTo(version), list.filter(isSuch).length);
        const all = list.map((event) => ({ origin: event.version.origin, position: event.position, seen: event.seen }));
        assert.deepEqual(unknownToAny(run.observers, known), unknownToAny(all, known));
      },
    ),
    { numRuns: 2_000 },
  );
});
