import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ConflictEntry } from './apply-port.ts';
import { REDACTED, Redaction } from './redaction.ts';

const ENTRY: ConflictEntry = {
  conflict_id: '01890000-0000-7000-8000-000000000001',
  event_id_a: null,
  event_id_b: null,
  schema_name: 'public',
  table_name: 'users',
  row_pk: { id: '7' },
  resolution_strategy: 'lww',
  merge_version: null,
  winner_event_id: null,
  loser: { hlc: 1n as ConflictEntry['loser']['hlc'], origin: 'eu' },
  winner: { hlc: 2n as ConflictEntry['loser']['hlc'], origin: 'us' },
  image_a: { id: '7', email: 'a@example', name: 'A' },
  image_b: { id: '7', email: null, name: 'B' },
  base_image: null,
  result_image: { id: '7', name: 'B' },
  provisional: false,
  provisional_reason: null,
};

test('named columns lose their values in every image, NULL too, and the record names them', () => {
  const entry = new Redaction(['public.users.email', 'other.users.name']).entry(ENTRY);
  assert.deepEqual(entry, {
    ...ENTRY,
    image_a: { id: '7', email: REDACTED, name: 'A' },
    image_b: { id: '7', email: REDACTED, name: 'B' },
    redacted: ['email'],
  });
});

test('columns of the key stay, whatever names them', () => {
  const entry = new Redaction(['*.*.*']).entry(ENTRY);
  assert.deepEqual(entry.row_pk, ENTRY.row_pk);
  assert.deepEqual(entry.image_a, { id: '7', email: REDACTED, name: REDACTED });
  assert.deepEqual(entry.result_image, { id: '7', name: REDACTED });
  assert.equal(entry.base_image, null);
  assert.deepEqual(entry.redacted, ['email', 'name']);
});

test('without patterns a record is as it was', () => {
  assert.deepEqual(new Redaction([]).entry(ENTRY), { ...ENTRY, redacted: [] });
});

test('no value of a withheld column is left anywhere in the record, and nothing else changes', () => {
  const column = fc.constantFrom('a', 'b', 'c', 'id', '__proto__');
  const image = fc.option(fc.dictionary(column, fc.option(fc.string())));
  const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'id', '__proto__'));
  fc.assert(
    fc.property(names, image, image, image, image, (named, image_a, image_b, base_image, result_image) => {
      const whole = { ...ENTRY, image_a, image_b, base_image, result_image };
      const entry = new Redaction(named.map((name) => `public.users.${name}`)).entry(whole);
      const withheld = new Set<string>();
      for (const name of ['image_a', 'image_b', 'base_image', 'result_image'] as const) {
        const [before, after] = [whole[name], entry[name]];
        if (before === null || after === null) {
          assert.equal(after, before);
          continue;
        }
        assert.deepEqual(Object.keys(after), Object.keys(before));
        for (const [key, value] of Object.entries(after)) {
          const isWithheld = named.includes(key as 'a') && key !== 'id';
          if (isWithheld) withheld.add(key);
          assert.equal(value, isWithheld ? REDACTED : before[key]);
        }
      }
      assert.deepEqual(entry.redacted, [...withheld].sort());
    }),
  );
});
