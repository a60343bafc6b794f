// SPEC.md lists the invariants, each under a heading `## I<number> <words>`, counted from one without
// gaps. Each names the tests that enforce it, as list items of the form
//
//   - `path/of/the.test.ts` "title of the test"
//
// and those tests exist under that title: an invariant that nothing tests is a wish.

import type { Check } from './source-tree.ts';

const PAGE = 'SPEC.md';
const INVARIANT = /^## I(\d+) (.+)$/gm;
const TEST = /^- `([\w./-]+\.test\.ts)` "(.+)"$/gm;

export const checkSpec: Check = (tree) => {
  const page = tree.get(PAGE);
  if (page === undefined) return [`${PAGE}: is missing`];
  const complaints: string[] = [];
  const headings = [...page.matchAll(INVARIANT)];
  if (headings.length === 0) complaints.push(`${PAGE}: lists no invariant`);
  for (const [index, heading] of headings.entries()) {
    const name = `I${heading[1]}`;
    if (Number(heading[1]) !== index + 1) complaints.push(`${PAGE}: ${name} stands where I${index + 1} should`);
    const section = page.slice(heading.index, headings[index + 1]?.index);
    const tests = [...section.matchAll(TEST)];
    if (tests.length === 0) complaints.push(`${PAGE}: ${name} names no test`);
    for (const [, path = '', title = ''] of tests) {
      const text = tree.get(path);
      if (text === undefined) complaints.push(`${PAGE}: ${name} names ${path}, which is missing`);
      else if (!hasTitle(text, title)) complaints.push(`${PAGE}: ${name} names "${title}", which ${path} lacks`);
    }
  }
  return complaints;
};

/** Titles stand in any kind of quotes, with those that they contain escaped. */
function hasTitle(text: string, title: string): boolean {
  return ["'", '"', '`'].some((quote) => text.includes(quote + title.replaceAll(quote, `\\${quote}`) + quote));
}
