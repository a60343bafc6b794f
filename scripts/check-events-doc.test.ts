import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECORD_SCHEMAS } from '../src/change/event-schema.ts';
import { checkEventsDoc, renewEventsDoc, schemaText } from './check-events-doc.ts';

const blank = Object.keys(RECORD_SCHEMAS)
  .map((name) => `## ${name}\n\n<!-- fields of ${name} -->\n\nMore.\n`)
  .join('\n');
const check = (page: string, schema = schemaText()): readonly string[] =>
  checkEventsDoc(
    new Map([
      ['docs/events.md', page],
      ['docs/events.schema.json', schema],
    ]),
  );

test('a page with the tables of all records passes, and any other does not', () => {
  const page = renewEventsDoc(blank);
  assert.deepEqual(check(page), []);
  assert.equal(renewEventsDoc(page), page);
  assert.match(page, /\| `operation` \| `INSERT`, `UPDATE`, `DELETE`, `TRUNCATE` \|/);
  assert.match(page, /\| `transaction\.stated_micros` \| string, may be absent \|/);
  assert.match(page, /\| `tables\[\]\.rows` \| integer \|/);
  assert.equal(check(page.replace('| `region_id` |', '| `region` |')).length, 1);
  assert.equal(check(page.replace(/<!-- fields of run -->\n(\|.*\n)*/, '')).length, 1);
  assert.equal(check(blank).length, 1);
  assert.equal(check(page, '{}').length, 1);
});

test('what people wrote around the tables stays', () => {
  assert.match(renewEventsDoc(blank), /\|\n\nMore\.\n\n## change\n/);
});
