import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { makePosition, type Seen } from '../change/position.ts';
import { parseArray, printArray } from './array-literal.ts';
import type { Observer } from './heads.ts';
import { mergeSet } from './set-merge.ts';

const EPOCH = '0000000000000000001';
const at = (origin: string, place: bigint, seen: Seen = {}): Observer => ({
  origin,
  position: makePosition(EPOCH, place),
  seen,
});

describe('arrays in the text of PostgreSQL', () => {
  test('are read and printed with whatever they hold', () => {
    const element = fc.oneof(
      fc.constant(null),
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('NULL', 'null', '', '{', '"', '\\', ' ', 'a,b'),
    );
    fc.assert(
      fc.property(fc.array(element), (elements) => {
        assert.deepEqual(parseArray(printArray(elements)), elements);
      }),
    );
  });

  test('are printed with quotes where the server puts them', () => {
    const elements = ['a', 'b c', '', 'NULL', 'Null', null, 'q"x\\y', '{}', '1.5', 'é', '\t'];
    assert.equal(printArray(elements), '{a,"b c","","NULL","Null",NULL,"q\\"x\\\\y","{}",1.5,é,"\t"}');
  });

  test('of more dimensions, with bounds, or broken are not read', () => {
    for (const text of ['{{1,2},{3,4}}', '[2:3]={1,2}', '{', '{a', '{"a}', '{a,}', '{a}b', 'a', '', '{a"b"}']) {
      assert.equal(parseArray(text), null, text);
    }
  });
});

describe('a set column', () => {
  test('keeps what both added, in the order that it had', () => {
    const { value } = mergeSet('_text', '{b,a}', '{b,a,"x y"}', '{z,b,a,c}', {}, at('eu', 1n));
    assert.equal(value, '{b,a,"x y",z,c}');
    assert.equal(
      mergeSet('jsonb', '[1, "a"]', '[1, "a", {"k": 1.10}]', '["a", null]', {}, at('eu', 1n)).value,
      '["a", {"k": 1.10}, null]',
    );
  });

  test('keeps an element that another one added too, unseen by whoever removes it', () => {
    const added = mergeSet('_text', '{}', '{}', '{x}', {}, at('us', 1n));
    const both = mergeSet('_text', '{}', added.value, '{x}', added.additions, at('eu', 1n));
    const removed = mergeSet('_text', '{x}', both.value, '{}', both.additions, at('eu', 2n));
    assert.equal(removed.value, '{x}');
    const knowing = at('eu', 3n, { us: makePosition(EPOCH, 1n) });
    assert.equal(mergeSet('_text', '{x}', removed.value, '{}', removed.additions, knowing).value, '{}');
  });

  test('takes NULL for empty, and is left as it is by an event that does not change it', () => {
    assert.equal(mergeSet('_text', null, '{a}', '{b}', {}, at('eu', 1n)).value, '{a,b}');
    assert.equal(mergeSet('_text', '{a}', '{a}', null, {}, at('eu', 1n)).value, null);
    assert.equal(mergeSet('_text', '{a}', '{b,b}', '{a}', {}, at('eu', 1n)).value, '{b,b}');
    assert.equal(mergeSet('_text', '{b,b}', '{b,b,c,c}', '{b,b,d,d}', {}, at('eu', 1n)).value, '{b,c,d}');
  });

  test('that is none ends as the later event has it', () => {
    assert.equal(mergeSet('_int4', '{1}', '{{1,2}}', '{3}', {}, at('eu', 1n)).value, '{3}');
    assert.equal(mergeSet('jsonb', '[1]', '{"a": 1}', '[2]', {}, at('eu', 1n)).value, '[2]');
  });
});
