import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { PackedRows } from './packed-rows.ts';

type Step = { readonly kind: 'set' | 'delete' | 'get'; readonly key: string; readonly value: number };

const key = fc.oneof(
  fc.nat(50).map((id) => `["${id}"]`),
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.constantFrom('', '\0', '\0\0', 'ä', '😀', 'x'.repeat(40_000), 'x'.repeat(40_001)),
);
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('set', 'set', 'delete', 'get'),
  key,
  value: fc.oneof(fc.nat(3), fc.constant(0xffff_fffe)),
});

describe('packed rows', () => {
  test('are what a map of the same keys is, whatever is put in and taken out', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const [packed, map] = [new PackedRows(), new Map<string, number>()];
        for (const { kind, key: row, value } of steps) {
          if (kind === 'set') {
            packed.set(row, value);
            map.set(row, value);
          } else if (kind === 'delete') {
            assert.equal(packed.delete(row), map.get(row));
            map.delete(row);
          } else assert.equal(packed.get(row), map.get(row));
          assert.equal(packed.size, map.size);
        }
        assert.deepEqual(new Set(packed.keys()), new Set(map.keys()));
        for (const [row, value] of map) assert.equal(packed.get(row), value);
      }),
    );
  });

  test('of two hundred thousand take some forty bytes each, and all are found', () => {
    const packed = new PackedRows();
    for (let id = 0; id < 200_000; id += 1) packed.set(`["${id}"]`, id);
    for (let id = 0; id < 200_000; id += 1) assert.equal(packed.get(`["${id}"]`), id);
    assert.equal(packed.get('["200000"]'), undefined);
    assert.ok(packed.bytes < 50 * 200_000, `${packed.bytes} bytes`);
  });
});
