/** Long histories of one merged row in regions whose clocks are crooked, whose capture lags, and which forget what is stable. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareEvents, foldOn } from '../../src/resolve/fold.ts';
import { foldNow, neverAsked } from '../../src/resolve/fold-drivers.ts';
import { settledRow } from '../../src/resolve/fold-state.ts';
import { LAST_WRITER_WINS, type MergeRule } from '../../src/resolve/merge-rule.ts';
import { MergeWorld, moves, type Write } from '../support/merge-world.ts';

const BASE = { id: '1', n: '0', s: '{}' };
const RULE: MergeRule = {
  ...LAST_WRITER_WINS,
  key: ['id'],
  columns: { n: { strategy: 'counter', typeName: 'numeric' }, s: { strategy: 'set', typeName: '_text' } },
};

test('long histories count everything, lose no element, and end equal though what is stable is forgotten', () => {
  fc.assert(
    fc.property(fc.array(moves, { minLength: 4, maxLength: 10 }), (made) => {
      let elements = 0;
      const add: Write = (row, choice) => {
        elements += 1;
        const added = `${(row?.s ?? '').slice(1, -1)},e${elements}`.replace(/^,/, '');
        return { ...(row ?? BASE), n: String(Number(row?.n) + (choice % 9) - 4), s: `{${added}}` };
      };
      const world = new MergeWorld(BASE, RULE, neverAsked);
      for (const some of made) {
        world.play(some, add);
        for (const region of world.regions) foldNow(region.fold.prune(world.stable(region)), neverAsked);
      }
      world.settle();
      const events = world.events().sort(compareEvents);
      const { state } = foldNow(foldOn(settledRow(BASE), events), neverAsked);
      const counted = events.reduce((sum, { before, after }) => sum + Number(after?.n) - Number(before?.n), 0);
      for (const { tuple } of world.regions) assert.deepEqual(tuple, state.image);
      assert.equal(state.image?.n, String(counted));
      assert.equal(new Set(state.image?.s?.slice(1, -1).split(',').filter(Boolean)).size, elements);
    }),
    { numRuns: 300 },
  );
});
