/** Removals against writes, step by step: what each policy makes of the same events. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Image } from '../change/change-event.ts';
import { makePosition, type Position } from '../change/position.ts';
import { compareEvents, type FoldAnswer, type FoldEvent, type FoldRequest, foldOn } from './fold.ts';
import { foldNow, foldTogether, neverAsked } from './fold-drivers.ts';
import { settledRow } from './fold-state.ts';
import { type DeletePolicy, LAST_WRITER_WINS, type MergeRule } from './merge-rule.ts';

const EPOCH = '0000000000000000001';
const place = (at: number): Position => makePosition(EPOCH, BigInt(at));
const BASE = { id: '1', n: '10', t: 'base' };

const rule = (deletes: DeletePolicy): MergeRule => ({
  ...LAST_WRITER_WINS,
  table: 'public.t',
  key: ['id'],
  rows: 'lww-columns',
  columns: { n: { strategy: 'counter', typeName: 'int4' } },
  deletes,
});

type Sketch = {
  readonly at: number;
  readonly in: string;
  readonly seen?: Readonly<Record<string, number>>;
  readonly before: Image | null;
  readonly after: Image | null;
  readonly index?: number;
};

/** `at` is the place in the stream and the stamp; of one region, later ones know the earlier. */
function fold(base: Image | null, deletes: DeletePolicy | MergeRule, sketches: readonly Sketch[]): Told {
  const events = sketches.map((sketch) => eventOf(sketch, typeof deletes === 'string' ? rule(deletes) : deletes));
  const { state, steps } = foldNow(foldOn(settledRow(base), events.sort(compareEvents)), neverAsked);
  return { image: state.image, how: steps.map(({ how }) => how).join() };
}
type Told = { readonly image: Image | null; readonly how: string };

function eventOf({ at, in: origin, seen = {}, before, after, index = 0 }: Sketch, by: MergeRule): FoldEvent {
  const positions = Object.entries(seen).map(([region, of]) => [region, place(of)] as const);
  return {
    version: { hlc: BigInt(at), origin },
    position: place(at),
    index,
    seen: Object.fromEntries(positions),
    before,
    after,
    rule: by,
  };
}

const plus = (n: number): Image => ({ ...BASE, n: String(n) });

describe('a removal and an update that had not seen each other', () => {
  const update: Sketch = { at: 1, in: 'eu', before: BASE, after: plus(11) };
  const removal: Sketch = { at: 2, in: 'us', before: BASE, after: null };
  const later: Sketch = { ...update, at: 3 };

  test('go by the later one, by the update, or by the removal', () => {
    assert.deepEqual(fold(BASE, 'latest', [update, removal]), { image: null, how: 'removed' });
    assert.deepEqual(fold(BASE, 'latest', [removal, later]), { image: plus(11), how: 'revived' });
    assert.deepEqual(fold(BASE, 'update-wins', [update, removal]), { image: plus(11), how: 'spared' });
    assert.deepEqual(fold(BASE, 'update-wins', [removal, later]), { image: plus(11), how: 'revived' });
    assert.deepEqual(fold(BASE, 'delete-wins', [update, removal]), { image: null, how: 'removed' });
    assert.deepEqual(fold(BASE, 'delete-wins', [removal, later]), { image: null, how: 'void' });
  });

  test('go by the later knowledge: a removal that saw the update, and an update that saw the removal', () => {
    const knowing: Sketch = { ...removal, seen: { eu: 1 }, before: plus(11) };
    for (const policy of ['latest', 'update-wins', 'delete-wins'] as const) {
      assert.deepEqual(fold(BASE, policy, [update, knowing]), { image: null, how: '' });
      const anew: Sketch = { at: 3, in: 'eu', seen: { us: 2 }, before: null, after: plus(1) };
      assert.deepEqual(fold(BASE, policy, [removal, anew]), { image: plus(1), how: '' });
    }
  });

  test('mean the same where the removal is a TRUNCATE', () => {
    const truncate: Sketch = { ...removal, before: null };
    assert.deepEqual(fold(BASE, 'update-wins', [update, truncate]).image, plus(11));
    assert.deepEqual(fold(BASE, 'delete-wins', [truncate, later]).image, null);
  });
});

describe('a row that is made anew', () => {
  const removal: Sketch = { at: 1, in: 'us', before: BASE, after: null };
  const anew: Sketch = { at: 2, in: 'us', before: null, after: plus(0) };

  test('is no business of an update to the old one, with delete-wins', () => {
    const old: Sketch = { at: 3, in: 'eu', before: BASE, after: plus(15) };
    assert.deepEqual(fold(BASE, 'delete-wins', [removal, anew, old]), { image: plus(0), how: 'void' });
    assert.deepEqual(fold(BASE, 'delete-wins', [{ ...old, at: 0 }, removal, anew]).image, plus(0));
    assert.deepEqual(fold(BASE, 'latest', [removal, anew, old]), { image: plus(5), how: 'merged' });
  });

  test('is updated by whoever knows it, though a removal of the old one is unknown to them', () => {
    const other: Sketch = { at: 1, in: 'eu', before: BASE, after: null };
    const update: Sketch = { at: 4, in: 'us', before: plus(0), after: plus(7) };
    assert.deepEqual(fold(BASE, 'delete-wins', [removal, other, anew, update]).image, plus(7));
  });

  test('was removed knowingly, so that another removal need not know of it', () => {
    // Deleted and made anew in eu, updated and then deleted in us.
    const update: Sketch = { at: 1, in: 'us', before: BASE, after: plus(11) };
    const gone: Sketch = { at: 2, in: 'us', before: plus(11), after: null };
    const made: Sketch = { at: 3, in: 'eu', before: null, after: plus(1) };
    const unmade: Sketch = { at: 4, in: 'eu', before: plus(1), after: null };
    assert.deepEqual(fold(BASE, 'update-wins', [update, gone, made, unmade]).image, null);
  });

  test('in two regions at once is both of them', () => {
    const one: Sketch = { at: 1, in: 'us', before: null, after: plus(2) };
    const other: Sketch = { at: 1, in: 'eu', before: null, after: plus(3) };
    assert.deepEqual(fold(null, 'latest', [one, other]).image, plus(5));
  });
});

describe('a transaction that changes a row several times', () => {
  test('counts event by event', () => {
    const both: Sketch[] = [
      { at: 2, in: 'eu', before: BASE, after: plus(13), index: 0 },
      { at: 2, in: 'eu', before: plus(13), after: { ...plus(14), t: 'x' }, index: 1 },
    ];
    const other: Sketch = { at: 1, in: 'us', before: BASE, after: plus(20) };
    assert.deepEqual(fold(BASE, 'latest', [...both, other]), { image: { ...plus(24), t: 'x' }, how: 'merged,merged' });
  });
});

describe('a transaction that changes a row and removes it', () => {
  test('knows its own changes', () => {
    const events: Sketch[] = [
      { at: 2, in: 'eu', before: BASE, after: plus(13), index: 0 },
      { at: 2, in: 'eu', before: plus(13), after: null, index: 1 },
    ];
    assert.deepEqual(fold(BASE, 'update-wins', events), { image: null, how: '' });
  });
});

describe('an event that a third region passed on', () => {
  test('is not taken for having seen what that one had seen', () => {
    // c knows f and h, f knows g, and c does not know g: c's row lacks g's one.
    const g: Sketch = { at: 1, in: 'b', before: BASE, after: plus(11) };
    const h: Sketch = { at: 2, in: 'd', before: BASE, after: plus(15) };
    const f: Sketch = { at: 3, in: 'a', seen: { b: 1 }, before: plus(11), after: plus(13) };
    const e: Sketch = { at: 4, in: 'c', seen: { a: 3, d: 2 }, before: plus(17), after: plus(18) };
    assert.deepEqual(fold(BASE, 'latest', [h, f]).image, plus(17), "c's row before");
    assert.deepEqual(fold(BASE, 'latest', [g, h, f, e]).image, plus(19), '10 + 1 + 5 + 2 + 1');
  });
});

describe('validity', () => {
  const notAbove15 = (request: FoldRequest): FoldAnswer => request.kind === 'validate' && Number(request.image.n) <= 15;
  const checked = { ...rule('latest'), needsValidation: true };

  test('is a part of each step: what is not valid is not taken, and what follows goes on from there', () => {
    const events = [
      { at: 1, in: 'eu', before: BASE, after: plus(14) },
      { at: 2, in: 'us', before: BASE, after: plus(12) },
      { at: 3, in: 'us', before: plus(12), after: plus(13) },
    ].map((sketch) => eventOf(sketch, checked));
    const { state, steps } = foldNow(foldOn(settledRow(BASE), events), notAbove15);
    // 14, then 16 is refused and 12 is taken, then one more.
    assert.equal(state.image?.n, '13');
    assert.deepEqual(
      steps.map(({ how }) => how),
      ['invalid', 'merged'],
    );
  });

  test('of a value beyond its type needs no asking', () => {
    const largest = plus(2_147_483_647);
    const events = [
      { at: 1, in: 'eu', before: BASE, after: largest },
      { at: 2, in: 'us', before: BASE, after: plus(11) },
    ];
    assert.deepEqual(fold(BASE, 'latest', events), { image: plus(11), how: 'invalid' });
  });
});

describe('rows that are folded together', () => {
  test('ask together, in as many rounds as the row that asks most', async () => {
    const checked = { ...rule('latest'), needsValidation: true };
    const chain = (length: number): FoldEvent[] =>
      Array.from({ length }, (_, at) => eventOf({ at: at + 1, in: `r${at}`, before: BASE, after: plus(11) }, checked));
    const rounds: number[] = [];
    const foldings = [chain(1), chain(5), chain(3)].map((events) => foldOn(settledRow(BASE), events));
    const folded = await foldTogether(foldings, {
      validate: (requests) => {
        rounds.push(requests.length);
        return Promise.resolve(requests.map(() => true));
      },
      merge: () => Promise.reject(new Error('nobody merges')),
    });
    assert.deepEqual(
      folded.map(({ state }) => state.image?.n),
      ['11', '15', '13'],
    );
    assert.deepEqual(rounds, [2, 2, 1, 1]);
  });
});

describe('values that were not sent', () => {
  test('are unchanged in an image from after, and taken from the event where there is nothing to compare with', () => {
    const unsent = { id: '1', n: '11' };
    const other: Sketch = { at: 1, in: 'us', before: BASE, after: { ...plus(10), t: 'us' } };
    const event: Sketch = { at: 2, in: 'eu', before: BASE, after: unsent };
    assert.deepEqual(fold(BASE, 'latest', [other, event]).image, { ...plus(11), t: 'us' });
    assert.deepEqual(fold(BASE, 'latest', [event]).image, plus(11));
    const keyOnly: Sketch = { at: 2, in: 'eu', before: { id: '1' }, after: plus(11) };
    assert.deepEqual(fold(BASE, 'latest', [other, keyOnly]).image, plus(11));
  });
});

describe('columns with names that every object has', () => {
  test('merge like any other', () => {
    const rows = ['{"id": "1", "__proto__": "5", "constructor": "{x}", "toString": null}'].map(
      (text) => JSON.parse(text) as Image,
    );
    const [found = {}] = rows;
    const by: MergeRule = {
      ...rule('latest'),
      columns: { constructor: { strategy: 'set' as const, typeName: '_text' } },
    };
    const change = (column: string, value: string): Image =>
      Object.fromEntries([...Object.entries(found).filter(([name]) => name !== column), [column, value]]);
    const { image } = fold(found, by, [
      { at: 1, in: 'eu', before: found, after: change('constructor', '{x,y}') },
      { at: 2, in: 'us', before: found, after: change('__proto__', '6') },
      { at: 3, in: 'ap', before: found, after: change('constructor', '{x,z}') },
    ]);
    assert.equal(
      JSON.stringify(Object.entries(image ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))),
      JSON.stringify([
        ['__proto__', '6'],
        ['constructor', '{x,y,z}'],
        ['id', '1'],
        ['toString', null],
      ]),
    );
  });
});
