import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makePosition, type Position } from '../change/position.ts';
import { echoedLsn, isLost, isOwn, type OwnHistory, seenOfOwn } from './own-history.ts';

const epochName = (place: number): string => String(place).padStart(19, '0');
const at = (epoch: number, lsn: number): Position => makePosition(epochName(epoch), BigInt(lsn));

/** Epoch 1 parted at 50 and went on to 90 without this database; epoch 2 is open. */
const restored: OwnHistory = { epoch: epochName(2), lineage: [at(1, 50)], fork: at(1, 50), after: at(1, 90) };
const first: OwnHistory = { epoch: epochName(1), lineage: [], fork: null, after: null };

describe('the own part of the own stream', () => {
  test('is what this history of the WAL has made, in any epoch', () => {
    assert.deepEqual(
      [at(1, 50), at(1, 51), at(2, 51), at(3, 1)].map((position) => isOwn(restored, position)),
      [true, false, true, false],
    );
    assert.deepEqual(
      [at(1, 50), at(1, 51), at(2, 51), at(3, 1)].map((position) => isLost(restored, position)),
      [false, true, false, false],
    );
    assert.ok(!isLost(first, at(1, 1)) && isOwn(first, at(1, 1)));
  });

  test('of what was lost, only what was given back counts as seen', () => {
    assert.equal(seenOfOwn(first, at(1, 7)), undefined);
    assert.deepEqual(
      [undefined, at(1, 30), at(1, 70), at(1, 90), at(2, 60)].map((mark) => seenOfOwn(restored, mark)),
      [at(1, 50), at(1, 50), at(1, 70), at(1, 90), at(1, 90)],
    );
    assert.equal(seenOfOwn({ ...restored, fork: null }, undefined), undefined);
  });

  test('a position of another history is no place in this WAL', () => {
    assert.deepEqual(
      [undefined, at(1, 30), at(1, 70), at(2, 60)].map((mark) => echoedLsn(restored, mark)),
      [0n, 30n, 50n, 60n],
    );
  });
});
