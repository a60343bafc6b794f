import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../../change/hlc.ts';
import { makePosition } from '../../change/position.ts';
import type { VersionEntry } from '../apply-port.ts';
import { SqlVersionCache } from './sql-version-cache.ts';

function entry(key: string, hlc: bigint): VersionEntry {
  return { key, hlc, position: makePosition('0000000000000000001', hlc), event_id: '' };
}

describe('the exact versions of recent batches', () => {
  test('a batch that is here tells also what it does not name; others are unknown', () => {
    const cache = new SqlVersionCache();
    cache.add(7, 1n, new Map([['t', [entry('a', 1n), entry('b', 2n)]]]));
    assert.equal(cache.find(7, 't')?.get('b')?.hlc, 2n);
    assert.equal(cache.find(7, 't')?.get('c'), undefined);
    assert.equal(cache.find(7, 'other')?.size, 0);
    assert.equal(cache.find(8, 't'), undefined);
  });

  test('of two versions of a row the higher counts', () => {
    const cache = new SqlVersionCache();
    cache.add(7, 1n, new Map([['t', [entry('a', 5n), entry('a', 3n)]]]));
    assert.equal(cache.find(7, 't')?.get('a')?.hlc, 5n);
  });

  test('the oldest batches go once there are too many rows', () => {
    const cache = new SqlVersionCache(3);
    cache.add(1, 1n, new Map([['t', [entry('a', 1n), entry('b', 1n)]]]));
    cache.add(2, 1n, new Map([['t', [entry('c', 1n)]]]));
    assert.ok(cache.find(1, 't') !== undefined);
    cache.add(3, 1n, new Map([['t', [entry('d', 1n)]]]));
    assert.equal(cache.find(1, 't'), undefined);
    assert.ok(cache.find(2, 't') !== undefined && cache.find(3, 't') !== undefined);
    cache.add(4, 1n, new Map([['t', Array.from({ length: 9 }, (_, n) => entry(String(n), 1n))]]));
    assert.equal(cache.find(4, 't'), undefined, 'one that is too large alone is not kept');
  });

  test('so they do where most batches have none', () => {
    const cache = new SqlVersionCache(3);
    for (const xid of [1, 2, 3, 4, 5]) cache.add(xid, 1n, new Map());
    assert.deepEqual(
      [1, 2, 3, 4, 5].filter((xid) => cache.find(xid, 't') !== undefined),
      [3, 4, 5],
    );
  });

  test('batches with stable stamps go', () => {
    const cache = new SqlVersionCache();
    cache.add(1, 10n, new Map([['t', [entry('a', 1n)]]]));
    cache.add(2, 11n, new Map([['t', [entry('a', 1n)]]]));
    cache.prune(hlcFromMicros(10n));
    assert.equal(cache.find(1, 't'), undefined);
    assert.ok(cache.find(2, 't') !== undefined);
  });
});
