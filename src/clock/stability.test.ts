import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makePosition, type Position } from '../change/position.ts';
import { Stability } from './stability.ts';
import { WINDOW } from './stamper.ts';

const epochName = (place: number): string => String(place).padStart(19, '0');
const at = (epoch: number, lsn: number): Position => makePosition(epochName(epoch), BigInt(lsn));

describe('what is stable, across epochs', () => {
  test('a region that was restored has stated nothing until it states it again', () => {
    const stability = new Stability('eu', ['us']);
    for (const origin of ['eu', 'us']) {
      stability.enters(origin, at(1, 1));
      stability.heartbeat(origin, 100n);
    }
    assert.equal(stability.watermark(), 100n);
    stability.enters('us', at(2, 1));
    assert.equal(stability.watermark(), 0n);
    stability.heartbeat('us', 40n);
    stability.enters('us', at(1, 2));
    assert.equal(stability.watermark(), 40n, 'an older epoch changes nothing');
  });

  test('what a crash may have taken back counts once it is consumed again', () => {
    const stability = new Stability('eu', ['us']);
    for (const origin of ['eu', 'us']) {
      stability.enters(origin, at(1, 1));
      stability.heartbeat(origin, 100n);
    }
    stability.enters('us', at(2, 1));
    stability.heartbeat('us', 90n);
    stability.beginsAnew();
    assert.equal(stability.watermark(), 0n);
    // From the mark on, which is before the newer epoch.
    stability.enters('us', at(1, 1));
    for (const origin of ['eu', 'us']) stability.heartbeat(origin, 100n);
    stability.enters('us', at(2, 1));
    assert.equal(stability.watermark(), 0n, 'the newer epoch is entered again');
  });

  test('a region states of its own stream only what it had by then', () => {
    const stability = new Stability('eu', []);
    stability.applied('eu', at(1, 1), 2n * WINDOW);
    stability.applied('eu', at(1, 2), 5n * WINDOW);
    assert.equal(stability.floorFor({}, 'all'), 4n * WINDOW);
    assert.equal(stability.floorFor({}, at(1, 1)), WINDOW);
    assert.equal(stability.floorFor({}, null), 0n);
  });
});
