import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSpec } from './check-spec.ts';

const complaints = (page: string): string[] =>
  checkSpec(
    new Map([
      ['SPEC.md', page],
      ['test/a.test.ts', `test('no write is lost', () => {}); test('it\\'s kept', x)`],
    ]),
  );

test('an invariant whose tests exist passes', () => {
  const page =
    '# Spec\n\n## I1 No write is lost\n\nWhy.\n\n- `test/a.test.ts` "no write is lost"\n- `test/a.test.ts` "it\'s kept"\n';
  assert.deepEqual(complaints(page), []);
});

test('what is not tested, or not by that name, is a complaint', () => {
  assert.deepEqual(complaints('# Spec\n'), ['SPEC.md: lists no invariant']);
  assert.deepEqual(complaints('## I1 X\n'), ['SPEC.md: I1 names no test']);
  assert.deepEqual(complaints('## I2 X\n- `test/b.test.ts` "x"\n'), [
    'SPEC.md: I2 stands where I1 should',
    'SPEC.md: I2 names test/b.test.ts, which is missing',
  ]);
  assert.deepEqual(complaints('## I1 X\n- `test/a.test.ts` "no write"\n'), [
    'SPEC.md: I1 names "no write", which test/a.test.ts lacks',
  ]);
  assert.deepEqual(checkSpec(new Map()), ['SPEC.md: is missing']);
});
