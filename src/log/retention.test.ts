import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Retention } from './retention.ts';

describe('what everybody has read', () => {
  test('is kept for a while beyond that', () => {
    const retention = new Retention(100, 1_000);
    assert.equal(retention.trimTo(10, 0, 0), 0);
    assert.equal(retention.trimTo(20, 0, 50), 0);
    assert.equal(retention.trimTo(30, 0, 100), 10);
    assert.equal(retention.trimTo(30, 0, 149), 10);
    assert.equal(retention.trimTo(30, 0, 150), 20);
    assert.equal(retention.trimTo(30, 0, 10_000), 30);
  });

  test('goes at once where space is needed', () => {
    const retention = new Retention(100, 1_000);
    assert.equal(retention.trimTo(10, 500, 0), 0);
    assert.equal(retention.trimTo(10, 501, 0), 10);
  });

  test('never comes to what a restored region needs again', () => {
    const retention = new Retention(100, 1_000);
    retention.trimTo(50, 0, 0);
    assert.equal(retention.trimTo(20, 0, 200), 20);
  });

  test('is remembered in bounded memory, which keeps more rather than less', () => {
    const retention = new Retention(5_000, 1_000);
    for (let look = 1; look <= 4_000; look += 1) assert.equal(retention.trimTo(look, 0, look), 0);
    const trimmed = retention.trimTo(5_000, 0, 8_000);
    assert.ok(trimmed > 2_000 && trimmed <= 3_000, String(trimmed));
  });
});
