import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Snapshot } from './snapshot.ts';

describe('a snapshot', () => {
  test('sees what is older than it, and not what was in progress', () => {
    const snapshot = Snapshot.parse('10:15:10,12');
    assert.deepEqual(
      [9n, 10n, 11n, 12n, 13n, 14n, 15n, 16n].map((xid) => snapshot.sees(xid)),
      [true, false, true, false, true, true, false, false],
    );
    assert.equal(Snapshot.parse('7:7:').sees(6n), true);
    assert.throws(() => Snapshot.parse('nonsense'), /not a snapshot/);
  });

  test('knows a transaction by its lower half, also across the turn of the counter', () => {
    const turn = 1n << 32n;
    const snapshot = Snapshot.parse(`${turn - 2n}:${turn + 5n}:${turn + 1n}`);
    assert.equal(snapshot.seesRecent(0xffff_ff00), true);
    assert.equal(snapshot.seesRecent(3), true);
    assert.equal(snapshot.seesRecent(1), false);
    assert.equal(snapshot.seesRecent(5), false);
  });

  test('sees all of another one unless something of it is still in progress', () => {
    const begin = Snapshot.parse('10:15:12');
    assert.equal(Snapshot.parse('20:20:').seesAllOf(begin), true);
    assert.equal(Snapshot.parse('12:20:12,16').seesAllOf(begin), true, 'what it did not see either may go on');
    assert.equal(Snapshot.parse('13:20:13').seesAllOf(begin), false, 'committed for one, in progress for the other');
    assert.equal(Snapshot.parse('9:20:9').seesAllOf(begin), false);
    assert.equal(Snapshot.parse('10:14:').seesAllOf(begin), false);
  });
});
