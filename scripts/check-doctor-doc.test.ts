import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHECKS } from '../src/monitor/checks/check-list.ts';
import { checkDoctorDoc, renewDoctorDoc } from './check-doctor-doc.ts';

const check = (page: string): readonly string[] => checkDoctorDoc(new Map([['docs/doctor.md', page]]));

test('a page that lists every check in its area passes, and any other does not', () => {
  const page = renewDoctorDoc('# Doctor\n\nIntroduction.\n');
  for (const code of Object.keys(CHECKS)) assert.ok(page.includes(`[${code}](errors.md#${code.toLowerCase()})`), code);
  assert.deepEqual(check(page), []);
  assert.equal(check('').length, 1);
  assert.equal(check(page.replace('| error |', '| warning |')).length, 1);
  assert.equal(check(page.replace(/^\| \[SYN-P001\].*\n/m, '')).length, 1);
});

test('what people wrote below a table, and sections of their own, stay', () => {
  const page = renewDoctorDoc('# Doctor\n\n## Server\n\nMind the disk.\n\n## More\n\nText.\n');
  assert.match(page, /\n\nMind the disk\.\n\n## Role\n/);
  assert.ok(page.endsWith('\n\n## More\n\nText.\n'));
  assert.equal(renewDoctorDoc(page), page);
});
