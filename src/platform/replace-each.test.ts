import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replaceEach } from './replace-each.ts';

test('texts of any size are replaced as a whole', () => {
  for (const text of ['', 'a"b', `${'ab"🙂'.repeat(600_000)}"`]) {
    assert.equal(replaceEach(text, /["\\]/g, '\\$&'), text.replace(/["\\]/g, '\\$&'));
  }
});
