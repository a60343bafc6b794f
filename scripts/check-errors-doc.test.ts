import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorEntry } from '../src/platform/errors.ts';
import { compareErrorsDoc, renewErrorsDoc } from './check-errors-doc.ts';

const entry = (cause: string): ErrorEntry => ({ class: 'config', cause, remedy: 'Mend it.' });
const TABLE = { 'SYN-C001': entry('No file.'), 'SYN-C002': entry('No YAML.') };

test('a renewed page agrees with the table and keeps what else a section tells', () => {
  const page =
    '# Errors\n\nIntroduction.\n\n## SYN-C001\n\n- Class: config\n- Cause: Old.\n- Remedy: Old.\n\nA long story.\n';
  assert.equal(compareErrorsDoc(page, TABLE).length, 2);
  const renewed = renewErrorsDoc(page, TABLE);
  assert.deepEqual(compareErrorsDoc(renewed, TABLE), []);
  assert.match(renewed, /^# Errors\n\nIntroduction\.\n\n## SYN-C001\n/);
  assert.match(renewed, /No file\.\n- Remedy: Mend it\.\n\nA long story\.\n\n## SYN-C002\n/);
  assert.equal(renewErrorsDoc(renewed, TABLE), renewed);
});

test('missing, changed and surplus sections are complaints', () => {
  const renewed = renewErrorsDoc('# Errors\n', TABLE);
  assert.match(compareErrorsDoc('# Errors\n', TABLE)[0] ?? '', /no section for SYN-C001/);
  assert.match(compareErrorsDoc(renewed.replace('No YAML.', 'x'), TABLE)[0] ?? '', /SYN-C002 differs/);
  assert.match(compareErrorsDoc(`${renewed}\n## SYN-C999\n`, TABLE)[0] ?? '', /SYN-C999 is no code/);
});
