import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rowKey } from './row-key.ts';

describe('row keys', () => {
  test('follow the order of the key, not of the image', () => {
    assert.equal(rowKey({ key: ['b', 'a'] }, { a: '1', b: 'x', c: null }), '["x","1"]');
  });

  test('keep texts apart that a plain join would confuse', () => {
    const shape = { key: ['a', 'b'] };
    const keys = [
      { a: '', b: '' },
      { a: ',', b: '' },
      { a: '","', b: '' },
      { a: 'x","y', b: 'z' },
      { a: 'x', b: 'y","z' },
    ].map((pk) => rowKey(shape, pk));
    assert.equal(new Set(keys).size, keys.length);
  });

  test('hold no line break and are never empty', () => {
    const key = rowKey({ key: ['a'] }, { a: 'x\r\ny\u0001' });
    assert.ok(!/[\r\n]/.test(key));
    assert.notEqual(rowKey({ key: ['a'] }, { a: '' }), '');
  });
});
