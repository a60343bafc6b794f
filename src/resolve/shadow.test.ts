import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MergeWorld, moves, type Write } from '../../test/support/merge-world.ts';
import { makePosition } from '../change/position.ts';
import { compareEvents, type FoldEvent } from './fold.ts';
import { foldNow, neverAsked } from './fold-drivers.ts';
import { settledRow } from './fold-state.ts';
import { LAST_WRITER_WINS, type MergeRule } from './merge-rule.ts';
import { hasShadows, judgeShadow, type ShadowCase, shadowCases } from './shadow.ts';

const BASE = { id: '1', n: '10', v: 'a' };
const COUNTER: MergeRule = {
  ...LAST_WRITER_WINS,
  key: ['id'],
  rows: 'lww-columns',
  columns: { n: { strategy: 'counter', typeName: 'int4' } },
};

function event(
  at: number,
  origin: string,
  after: object,
  more: Partial<FoldEvent> = {},
): FoldEvent & { merge_shadow: string } {
  return {
    version: { hlc: BigInt(at), origin },
    position: makePosition('0000000000000000001', BigInt(at)),
    index: 0,
    seen: {},
    before: BASE,
    after: { ...BASE, ...after },
    merge_shadow: 'other',
    ...more,
  };
}

function casesOf<Event extends FoldEvent & { readonly merge_shadow?: string }>(
  events: readonly Event[],
): ShadowCase<Event>[] {
  return foldNow(shadowCases(settledRow(BASE), events), neverAsked);
}

describe('a rule in shadow', () => {
  test('is asked about conflicts alone, from the row as it really was', () => {
    const a = event(1, 'a', { n: '11' });
    const b = event(2, 'b', { n: '15' });
    const c = event(3, 'b', { n: '16' }, { seen: { a: a.position }, before: { ...BASE, n: '15' } });
    const cases = casesOf([a, b, c]);
    assert.deepEqual(
      cases.map((each) => [each.event, each.state.image?.n, each.result?.n]),
      [[b, '11', '15']],
    );
    const [first] = cases;
    assert.ok(first !== undefined);
    const verdict = foldNow(judgeShadow(first, COUNTER), neverAsked);
    assert.deepEqual(verdict, { image: { ...BASE, n: '16' }, isDifferent: true, failure: null });
    const same = foldNow(judgeShadow(first, LAST_WRITER_WINS), neverAsked);
    assert.deepEqual([same.isDifferent, same.failure], [false, null]);
  });

  test('that fails gives the later row, and says why', () => {
    const [conflict] = casesOf([event(1, 'a', { n: '11' }), event(2, 'b', { n: '15' })]);
    assert.ok(conflict !== undefined);
    const asked = foldNow(judgeShadow(conflict, { ...COUNTER, rows: { hash: 'any' } }), () => ({ fallback: 'threw' }));
    assert.deepEqual([asked.failure, asked.isDifferent], ['threw', false]);
    const refused = foldNow(judgeShadow(conflict, { ...COUNTER, needsValidation: true }), () => false);
    assert.deepEqual([refused.failure, refused.isDifferent], ['invalid', false]);
  });

  test('is not asked about events that do not name it, nor about those that are not stable', () => {
    const { merge_shadow: _, ...plain } = event(2, 'b', { n: '15' });
    assert.deepEqual(casesOf<FoldEvent>([event(1, 'a', { n: '11' }), plain]), []);
    assert.deepEqual([hasShadows([event(1, 'a', { n: '11' })]), hasShadows([plain])], [true, false]);
  });

  test('comes to the same in every region, wherever histories are cut and whatever has arrived by then', () => {
    const write: Write = (row, choice) => {
      if (choice % 11 === 0) return null;
      return {
        ...(row ?? BASE),
        n: String(Number(row?.n ?? 0) + (choice % 9) - 4),
        v: choice % 3 === 0 ? `${choice}` : (row?.v ?? 'a'),
      };
    };
    const told = (each: ShadowCase<FoldEvent>): string => {
      const verdict = foldNow(judgeShadow(each, COUNTER), neverAsked);
      return JSON.stringify([
        String(each.event.version.hlc),
        each.event.version.origin,
        each.event.index,
        each.result,
        verdict,
      ]);
    };
    let conflicts = 0;
    fc.assert(
      fc.property(fc.array(moves, { minLength: 1, maxLength: 6 }), (made) => {
        const world = new MergeWorld(BASE, LAST_WRITER_WINS, neverAsked);
        const found = world.regions.map((): string[] => []);
        const prune = (): void => {
          for (const [place, region] of world.regions.entries()) {
            const stable = world.stable(region);
            const { fold } = region;
            const named = fold.upTo(stable).map((each) => ({ ...each, merge_shadow: 'other' }));
            found[place]?.push(...foldNow(shadowCases(fold.base, named), neverAsked).map(told));
            foldNow(fold.prune(stable), neverAsked);
          }
        };
        for (const some of made) {
          world.play(some, write);
          prune();
        }
        world.settle();
        prune();
        const left = world.regions.map(({ fold }) => fold.size);
        const all = world
          .events()
          .sort(compareEvents)
          .map((each) => ({ ...each, merge_shadow: 'other' }));
        const whole = casesOf(all).map(told);
        for (const [place, each] of found.entries()) {
          if (left[place] === 0) assert.deepEqual(each, whole);
          else assert.deepEqual(each, whole.slice(0, each.length));
        }
        conflicts += whole.length;
      }),
      { numRuns: 400 },
    );
    assert.ok(conflicts > 400, `${conflicts} conflicts`);
  });
});
