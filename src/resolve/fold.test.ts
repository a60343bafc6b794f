import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { arrival, MergeWorld, moves, type Write } from '../../test/support/merge-world.ts';
import type { Image } from '../change/change-event.ts';
import { compareEvents, type FoldAnswer, type FoldEvent, type FoldRequest, foldOn } from './fold.ts';
import { foldNow } from './fold-drivers.ts';
import { foldStateFromText, foldStateToText, settledRow } from './fold-state.ts';
import type { ColumnStrategy, DeletePolicy, MergeRule } from './merge-rule.ts';
import { RowFold } from './row-fold.ts';

const BASE = { id: '1', n: '10', s: '{x,y}', t: 'one two three', w: '5' };

function ruleOf(deletes: DeletePolicy, rows: MergeRule['rows'] = 'lww-columns'): MergeRule {
  const column = (strategy: ColumnStrategy, typeName: string): MergeRule['columns'][string] => ({ strategy, typeName });
  return {
    table: 'public.t',
    key: ['id'],
    rows,
    columns: {
      n: column('counter', 'int8'),
      s: column('set', '_text'),
      t: column('text', 'text'),
      w: column('max', 'int4'),
    },
    deletes,
    needsValidation: true,
  };
}

const SETS = ['{}', '{x}', '{y,z}', '{z}', '{x,y,z}', '{w}'];
const TEXTS = ['one two three', 'ONE two three', 'one two THREE', 'two three', ''];

/** Any change of any column, a removal, or a row made anew. */
const anything: Write = (row, choice) => {
  const kind = choice % 10;
  if (row === null) return kind < 6 ? { ...BASE, n: String(choice), s: SETS[choice % SETS.length] ?? '{}' } : undefined;
  if (kind === 0) return null;
  if (kind < 4) return { ...row, n: String(Number(row.n) + 1 + (choice % 100)) };
  if (kind < 6) return { ...row, s: SETS[choice % SETS.length] ?? '{}' };
  if (kind < 8) return { ...row, t: TEXTS[choice % TEXTS.length] ?? '' };
  return { ...row, w: String(choice % 50), n: String(Number(row.n) - 3) };
};

/** Neither commutative nor associative, and what is valid is as crooked. */
function crooked(request: FoldRequest): FoldAnswer {
  if (request.kind === 'validate') return Number(request.image.n) % 7 !== 3;
  const { base, a, b } = request;
  const n = 2 * Number(a.n) - Number(b.n) + Number(base?.n ?? 1);
  if (n % 11 === 5) return { fallback: 'threw' };
  return { image: { ...a, n: String(n), w: `${a.w}${b.w}`.slice(-6) } };
}

const rules: fc.Arbitrary<MergeRule> = fc
  .tuple(
    fc.constantFrom<DeletePolicy>('latest', 'delete-wins', 'update-wins'),
    fc.constantFrom<MergeRule['rows']>('lww', 'lww-columns', { hash: 'f' }),
    fc.boolean(),
  )
  .map(([deletes, rows, hasColumns]) => ({ ...ruleOf(deletes, rows), ...(hasColumns ? {} : { columns: {} }) }));

function foldAll(world: MergeWorld, events: readonly FoldEvent[], answer = crooked): ReturnType<typeof settledRow> {
  return foldNow(foldOn(settledRow(world.base), [...events].sort(compareEvents)), answer).state;
}

describe('the fold of a row', () => {
  test('is the same in every region, whatever arrives first and whatever the strategy', () => {
    fc.assert(
      fc.property(moves, rules, fc.boolean(), (made, rule, isThere) => {
        const world = new MergeWorld(isThere ? BASE : null, rule, crooked);
        world.play(made, anything);
        world.settle();
        const wanted = foldAll(world, world.events()).image;
        for (const region of world.regions) assert.deepEqual(region.tuple, wanted);
      }),
      { numRuns: 3_000 },
    );
  });

  test('is the same where it goes on from a stable prefix that is pruned at any moment', () => {
    fc.assert(
      fc.property(moves, rules, (made, rule) => {
        const world = new MergeWorld(BASE, rule, crooked);
        for (const move of made) {
          world.play([move], anything);
          for (const region of world.regions) {
            foldNow(region.fold.prune(world.stable(region)), crooked);
            // Its base survives being written down.
            const { base } = region.fold;
            assert.deepEqual(foldStateFromText(foldStateToText(base)), base);
          }
        }
        world.settle();
        const wanted = foldAll(world, world.events());
        for (const region of world.regions) {
          assert.deepEqual(region.tuple, wanted.image);
          foldNow(region.fold.prune(wanted.version), crooked);
          assert.deepEqual(region.fold.base, settledRow(wanted.image, wanted.version), 'a row at rest is nothing else');
        }
      }),
      { numRuns: 3_000 },
    );
  });

  test('that grows event by event equals that of all of them, and repeats no more than what a late one displaces', () => {
    fc.assert(
      fc.property(fc.array(moves, { maxLength: 8 }), rules, fc.infiniteStream(fc.nat(99)), (made, rule, dice) => {
        const world = new MergeWorld(BASE, { ...rule, needsValidation: false }, crooked);
        world.play(made.flat(), anything);
        const fold = new RowFold<FoldEvent>(settledRow(BASE));
        const arrived: FoldEvent[] = [];
        for (const event of arrival(world.events(), dice)) {
          arrived.push(event);
          assert.equal(fold.add(event), true);
          assert.equal(fold.add(event), false);
          assert.deepEqual(foldNow(fold.fold(), crooked).state, foldAll(world, arrived));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('of thousands of events in order takes one step each', () => {
    let asked = 0;
    const fold = new RowFold<FoldEvent>(settledRow(BASE));
    const answer = (): FoldAnswer => {
      asked += 1;
      return true;
    };
    const world = new MergeWorld(BASE, ruleOf('latest'), answer);
    const add: Write = (row) => (row === null ? undefined : { ...row, n: String(Number(row.n) + 1) });
    for (let round = 0; round < 1_000; round += 1) {
      for (const region of [0, 1]) world.play([{ region, hears: [0, 0, 0], clock: 0, writes: [1] }], add);
    }
    const events = world.events().sort(compareEvents);
    asked = 0;
    for (const event of events) {
      fold.add(event);
      foldNow(fold.fold(), answer);
    }
    // All but the first, which found what everybody knows.
    assert.equal(asked, events.length - 1);
    assert.equal(foldNow(fold.fold(), answer).state.image?.n, '2010');
  });
});

const NEVER_INVALID = (): FoldAnswer => true;

describe('a counter', () => {
  test('ends at what it began with plus all that was added anywhere, however late that is captured', () => {
    const add: Write = (row, choice) => ({ ...(row ?? BASE), n: String(Number(row?.n) + (choice % 21) - 10) });
    fc.assert(
      fc.property(moves, (made) => {
        const world = new MergeWorld(BASE, ruleOf('latest'), NEVER_INVALID);
        world.play(made, add);
        world.settle();
        const added = world.events().reduce((sum, { before, after }) => sum + Number(after?.n) - Number(before?.n), 10);
        for (const { tuple } of world.regions) assert.equal(tuple?.n, String(added));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('a set', () => {
  const elementsOf = (image: Image | null): string[] => (image?.s ?? '').slice(1, -1).split(',').filter(Boolean);

  function assertObserved(world: MergeWorld, names: readonly string[]): void {
    const events = world.events();
    const [tuple] = world.regions.map((region) => region.tuple);
    for (const name of names) {
      const has = (image: Image | null): boolean => elementsOf(image).includes(name);
      const additions = events.filter(({ before, after }) => !has(before) && has(after));
      const removals = events.filter(({ before, after }) => has(before) && !has(after));
      const survives = additions.some((addition) => !removals.some((removal) => hadSeen(removal, addition)));
      const isLeft = removals.length === 0 && has(world.base);
      if (survives || isLeft) assert.ok(has(tuple ?? null), `${name} was added and is lost`);
      else assert.ok(!has(tuple ?? null), `${name} was removed and is back`);
    }
  }

  test('holds what was added and not removed by one who had seen that, and nothing else, however late that is captured', () => {
    const names = ['x', 'y', 'z'];
    const toggle: Write = (row, choice) => {
      const elements = new Set(elementsOf(row));
      const name = names[choice % names.length] ?? 'x';
      if (!elements.delete(name)) elements.add(name);
      return { ...(row ?? BASE), s: `{${[...elements].join(',')}}` };
    };
    fc.assert(
      fc.property(moves, (made) => {
        const world = new MergeWorld({ ...BASE, s: '{x}' }, ruleOf('latest'), NEVER_INVALID);
        world.play(made, toggle);
        world.settle();
        assertObserved(world, names);
      }),
      { numRuns: 5_000 },
    );
  });

  test('does so where no element is added twice', () => {
    fc.assert(
      fc.property(moves, (made) => {
        const names: string[] = ['x'];
        const change: Write = (row, choice) => {
          const elements = elementsOf(row);
          if (choice % 3 === 0) elements.splice(choice % 7, 1);
          else elements.push(names[names.push(`e${names.length}`) - 1] ?? '');
          return { ...(row ?? BASE), s: `{${elements.join(',')}}` };
        };
        const world = new MergeWorld({ ...BASE, s: '{x}' }, ruleOf('latest'), NEVER_INVALID);
        world.play(made, change);
        world.settle();
        assertObserved(world, names);
      }),
      { numRuns: 5_000 },
    );
  });
});

function hadSeen(later: FoldEvent, earlier: FoldEvent): boolean {
  if (later === earlier) return false;
  if (later.version.origin !== earlier.version.origin) {
    return (later.seen[earlier.version.origin] ?? '') >= earlier.position;
  }
  return later.position > earlier.position || (later.position === earlier.position && later.index > earlier.index);
}
