import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Key } from './key-range.ts';
import type { RowSource } from './region-connection.ts';
import { UNSETTLED_MAX, UnsettledRows } from './unsettled-rows.ts';

type Rows = Record<string, string>;

const source = (rows: Rows, spell: (key: string) => string = (key) => key): RowSource => ({
  lookUp: async (keys: readonly Key[]) =>
    keys.map(([key = '']) => {
      const digest = rows[String(Number(key))];
      return digest === undefined ? null : { digest, key: [spell(String(Number(key)))] };
    }),
});

const limits = { settleMs: 100, giveUpMs: 1_000 };

function watch(regions: readonly RowSource[]) {
  const clock = { ms: 0 };
  return { clock, unsettled: new UnsettledRows(regions, limits, () => clock.ms) };
}

describe('unsettled rows', () => {
  test('a row that becomes equal is forgotten, also when it is gone everywhere', async () => {
    const [here, there]: [Rows, Rows] = [{ 1: 'new', 2: 'x' }, { 1: 'old' }];
    const { clock, unsettled } = watch([source(here), source(there)]);
    unsettled.add(['1']);
    unsettled.add(['2']);
    assert.equal((await unsettled.look()).settled, 0);
    there[1] = 'new';
    delete here[2];
    clock.ms = 50;
    assert.equal((await unsettled.look()).settled, 2);
    assert.equal(unsettled.size, 0);
  });

  test('a row counts as different only after it stayed as it is for the whole time', async () => {
    const [here, there]: [Rows, Rows] = [{ 1: 'a' }, {}];
    const { clock, unsettled } = watch([source(here), source(there)]);
    unsettled.add(['1']);
    assert.deepEqual((await unsettled.look()).different, []);
    clock.ms = 99;
    assert.deepEqual((await unsettled.look()).different, []);
    here[1] = 'b';
    clock.ms = 110;
    assert.deepEqual((await unsettled.look()).different, [], 'it changed, so the time starts again');
    clock.ms = 209;
    assert.deepEqual((await unsettled.look()).different, []);
    clock.ms = 210;
    assert.deepEqual((await unsettled.look()).different, [['1']]);
    assert.equal(unsettled.size, 0);
  });

  test('a row that goes on changing is given up as in flight, with the regions that changed', async () => {
    const [here, there]: [Rows, Rows] = [{ 1: '0' }, { 1: 'stays' }];
    const { clock, unsettled } = watch([source(here), source(there)]);
    unsettled.add(['1']);
    for (clock.ms = 0; clock.ms < 1_000; clock.ms += 50) {
      here[1] = String(clock.ms);
      assert.deepEqual((await unsettled.look()).inFlight, []);
    }
    here[1] = 'last';
    assert.deepEqual((await unsettled.look()).inFlight, [{ key: ['1'], changedIn: [0] }]);
  });

  test('two spellings of one key are one row', async () => {
    const rows: [Rows, Rows] = [{ 1: 'a' }, { 1: 'b' }];
    const { clock, unsettled } = watch([source(rows[0]), source(rows[1], (key) => `${key}.00`)]);
    unsettled.add(['1']);
    unsettled.add(['1.00']);
    await unsettled.look();
    clock.ms = 100;
    assert.deepEqual((await unsettled.look()).different, [['1']]);

    rows[1][1] = 'a';
    unsettled.add(['1']);
    const { settled, spelledDifferently } = await unsettled.look();
    assert.deepEqual([settled, spelledDifferently], [0, 1]);
    assert.equal(unsettled.size, 0);
  });

  test('is bounded and takes a key once', () => {
    const { unsettled } = watch([]);
    for (let key = 0; key < UNSETTLED_MAX - 1; key += 1) unsettled.add([String(key)]);
    unsettled.add(['0']);
    assert.equal(unsettled.isFull, false);
    unsettled.add(['more']);
    assert.equal(unsettled.isFull, true);
  });
});
