import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Reserve } from './reserve.ts';

const MEGABYTE = 1024 * 1024;
const WHOLE = 16 * MEGABYTE;

test('grows by as little at once as the stream does, until it is whole, and is given up once it is needed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-reserve-'));
  try {
    const path = join(folder, 'reserve');
    const sizeNow = (): number => statSync(path).size;
    const reserve = new Reserve(path);
    assert.equal(reserve.grow(10), true);
    assert.equal(sizeNow(), MEGABYTE / 16);
    assert.equal(reserve.grow(MEGABYTE), true);
    assert.equal(sizeNow(), MEGABYTE / 16 + MEGABYTE);
    while (reserve.grow(20 * MEGABYTE)) assert.equal(sizeNow() % MEGABYTE, MEGABYTE / 16);
    assert.equal(reserve.grow(MEGABYTE), false);
    assert.equal(sizeNow(), WHOLE);

    let tries = 0;
    const work = (): string => {
      tries += 1;
      if (sizeNow() > 0) throw Object.assign(new Error('full'), { code: 'ERR_SQLITE_ERROR', errcode: 13 });
      return 'done';
    };
    assert.equal(reserve.use(work), 'done');
    assert.deepEqual([tries, sizeNow()], [2, 0]);
    assert.equal(reserve.grow(MEGABYTE), true, 'it is taken again');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
