import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Meter } from './observer.ts';

test('a meter goes on where it stood when the counter begins again at zero', () => {
  const meter = new Meter();
  meter.read(100, 0);
  meter.read(150, 1_000);
  meter.read(10, 2_000);
  assert.equal(meter.total, 160);
});

test('a rate is taken over the last moments', () => {
  const meter = new Meter();
  assert.equal(meter.perS, 0);
  meter.read(1_000, 0);
  assert.equal(meter.perS, 0, 'one reading makes no rate');
  meter.read(1_100, 1_000);
  meter.read(1_200, 2_000);
  meter.read(1_300, 3_000);
  assert.equal(meter.perS, 100);
  for (let ms = 4_000; ms <= 8_000; ms += 1_000) meter.read(1_300, ms);
  assert.equal(meter.perS, 0);
});
