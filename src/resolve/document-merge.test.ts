import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import * as Y from 'yjs';
import { mergeJson } from './json-merge.ts';
import { mergeText } from './text-merge.ts';
import { mergeYjs } from './yjs-merge.ts';

describe('a text column', () => {
  test('keeps what was changed in different lines, and in different words of a line', () => {
    assert.equal(mergeText('one\ntwo\nthree\n', 'ONE\ntwo\nthree\n', 'one\ntwo\nTHREE\n'), 'ONE\ntwo\nTHREE\n');
    assert.equal(
      mergeText('the red fox runs', 'the quick red fox runs', 'the red fox sleeps'),
      'the quick red fox sleeps',
    );
  });

  test('takes the later words where both changed the same, and never marks a conflict', () => {
    assert.equal(mergeText('a red fox', 'a blue fox', 'a green fox'), 'a green fox');
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a ', 'b ', 'c\n', 'd'), { maxLength: 12 }),
        fc.infiniteStream(fc.nat(9)),
        (words, dice) => {
          const change = (): string => words.map((word) => (dice.next().value > 7 ? 'x ' : word)).join('');
          const merged = mergeText(words.join(''), change(), change()) ?? '';
          assert.match(merged, /^[abcdx \n]*$/);
        },
      ),
    );
  });

  test('is the one side where the other changed nothing, and the later text where it would take too long', () => {
    const long = 'a\n'.repeat(5_000);
    assert.equal(mergeText('a', 'a', 'b'), 'b');
    assert.equal(mergeText('a', 'b', 'a'), 'b');
    assert.equal(mergeText('a', null, 'b'), 'b');
    assert.equal(mergeText('a', 'b', null), null);
    assert.equal(mergeText(long, `x\n${long}`, `${long}y`), `${long}y`);
  });
});

describe('a jsonb column', () => {
  test('is merged key by key, however deep', () => {
    const base = '{"a": 1, "b": {"c": 2, "d": 3}}';
    const merged = mergeJson(base, '{"a": 1, "b": {"c": 9, "d": 3}}', '{"a": 7, "b": {"c": 2, "d": 3, "e": null}}');
    assert.equal(merged, '{"a": 7, "b": {"c": 9, "d": 3, "e": null}}');
  });

  test('loses keys that one side removed, and takes the later value where both changed one', () => {
    assert.equal(mergeJson('{"a": 1, "b": 2}', '{"a": 1}', '{"a": 5, "b": 2}'), '{"a": 5}');
    assert.equal(mergeJson('{"a": 1}', '{"a": 2}', '{"a": 3}'), '{"a": 3}');
    assert.equal(mergeJson('{"a": [1]}', '{"a": [1, 2]}', '{"a": [3, 1]}'), '{"a": [3, 1]}');
    assert.equal(mergeJson('{"a": 1}', '{"a": 2}', '{}'), '{}');
    assert.equal(mergeJson(null, '{"a": 1}', '{"b": 2}'), '{"a": 1, "b": 2}');
  });

  test('keeps numbers and texts as they are, and prints keys by length and bytes', () => {
    const number = '123456789012345678901234567890.10';
    assert.equal(
      mergeJson('{}', `{"n": ${number}}`, '{"zz": "\\"}, {", "é": 1}'),
      `{"n": ${number}, "zz": "\\"}, {", "é": 1}`,
    );
    assert.equal(mergeJson('{}', '{"bb": 1, "aaa": 1}', '{"z": 1}'), '{"z": 1, "bb": 1, "aaa": 1}');
  });

  test('takes what is nested beyond all measure for one value', () => {
    const nested = (inner: string): string => `${'{"a": '.repeat(5_000)}${inner}${'}'.repeat(5_000)}`;
    assert.equal(mergeJson(nested('1'), nested('2'), nested('3')), nested('3'));
  });
});

describe('a Yjs column', () => {
  const textOf = (doc: Y.Doc): string => String(doc.getText('t').toJSON());
  const text = (update: Uint8Array): string => `\\x${Buffer.from(update).toString('hex')}`;
  const read = (value: string | null): Y.Doc => {
    const doc = new Y.Doc();
    Y.applyUpdate(doc, Buffer.from((value ?? '').slice(2), 'hex'));
    return doc;
  };

  test('has what both wrote, in the same bytes either way, and is the same document in any grouping', () => {
    const edit = fc.record({
      client: fc.integer({ min: 1, max: 2 ** 31 }),
      at: fc.nat(4),
      deletes: fc.nat(2),
      key: fc.constantFrom('k', 'l'),
    });
    const edits = fc.uniqueArray(edit, { minLength: 3, maxLength: 3, selector: ({ client }) => client });
    fc.assert(
      fc.property(edits, (made) => {
        const origin = new Y.Doc();
        origin.getText('t').insert(0, 'hello');
        const base = Y.encodeStateAsUpdate(origin);
        const [a = '', b = '', c = ''] = made.map(({ client, at, deletes, key }) => {
          const doc = new Y.Doc();
          Y.applyUpdate(doc, base);
          doc.clientID = client;
          doc.getText('t').delete(0, deletes);
          doc.getText('t').insert(Math.min(at, doc.getText('t').length), `<${client}>`);
          doc.getMap('m').set(key, client);
          return text(Y.encodeStateAsUpdate(doc));
        });
        const from = text(base);
        const merged = mergeYjs(from, mergeYjs(from, a, b), c);
        assert.equal(mergeYjs(from, b, a), mergeYjs(from, a, b));
        const regrouped = read(mergeYjs(from, a, mergeYjs(from, c, b)));
        assert.equal(textOf(regrouped), textOf(read(merged)));
        assert.deepEqual(regrouped.getMap('m').toJSON(), read(merged).getMap('m').toJSON());
        const all = textOf(read(merged));
        for (const { client } of made) assert.ok(all.includes(`${client}>`), all);
      }),
    );
  });

  test('that is no Yjs update ends as the later event has it', () => {
    assert.equal(mergeYjs('\\x00', '\\xffff', '\\xdeadbeef'), '\\xdeadbeef');
    assert.equal(mergeYjs(null, '\\x', '\\x01'), '\\x01');
    assert.equal(mergeYjs('\\x00', null, '\\x01'), '\\x01');
  });
});
