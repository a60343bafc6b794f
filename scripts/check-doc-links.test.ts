import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDocLinks } from './check-doc-links.ts';

const OTHERS = [
  ['docs/errors.md', '# Errors\n\n## SYN-C001: no file\n'],
  ['src/main.ts', ''],
  ['README.md', ''],
] as const;

const complaints = (text: string): string[] => checkDocLinks(new Map([...OTHERS, ['docs/guide.md', text]]));

test('links and names that lead somewhere pass', () => {
  const text = `
[codes](errors.md#syn-c001-no-file) [up](../README.md) [out](https://example.com) [here](#the-way)
[source](../src/) \`src/main.ts\` and README.md

## The way
`;
  assert.deepEqual(complaints(text), []);
});

test('links and names that lead nowhere are complaints with their line', () => {
  assert.deepEqual(complaints('x\n[a](gone.md)'), ['docs/guide.md:2: gone.md leads nowhere']);
  assert.deepEqual(complaints('[a](errors.md#syn-c999)'), [
    'docs/guide.md:1: docs/errors.md has no heading for #syn-c999',
  ]);
  assert.deepEqual(complaints('see `src/gone.ts`'), ['docs/guide.md:1: there is no src/gone.ts']);
  assert.deepEqual(complaints('see PLAN.md'), ['docs/guide.md:1: there is no PLAN.md']);
});
