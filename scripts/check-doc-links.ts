// Links between the documents lead somewhere: relative targets exist, anchors are headings of their
// page, and a file of the repository that a page names in backticks is there.

import { posix } from 'node:path';
import { type Check, lineAt, type SourceTree } from './source-tree.ts';

const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;
const FILE_NAME = /`((?:src|test|scripts|bench|docs|sql|bin|\.ci)\/[\w./-]+)`|`?\b([A-Z]{3,}\.md)\b`?/g;

export const checkDocLinks: Check = (tree) => {
  const complaints: string[] = [];
  for (const [path, text] of tree) {
    if (!path.endsWith('.md')) continue;
    const complain = (offset: number, what: string): void => {
      complaints.push(`${path}:${lineAt(text, offset)}: ${what}`);
    };
    for (const match of text.matchAll(LINK)) {
      const link = match[1] ?? '';
      if (/^[a-z]+:/.test(link)) continue;
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : posix.join(posix.dirname(path), file);
      if (!exists(tree, target)) complain(match.index, `${link} leads nowhere`);
      else if (anchor !== undefined && !anchorsOf(tree.get(target) ?? '').has(anchor)) {
        complain(match.index, `${target} has no heading for #${anchor}`);
      }
    }
    for (const match of text.matchAll(FILE_NAME)) {
      const name = match[1] ?? match[2] ?? '';
      const isThere = exists(tree, name) || exists(tree, posix.join(posix.dirname(path), name));
      if (!isThere) complain(match.index, `there is no ${name}`);
    }
  }
  return complaints;
};

function exists(tree: SourceTree, path: string): boolean {
  const folder = path.endsWith('/') ? path : `${path}/`;
  return tree.has(path) || path === 'LICENSE' || [...tree.keys()].some((each) => each.startsWith(folder));
}

/** Anchors as GitHub makes them: lower case, punctuation dropped, hyphens for spaces. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#{1,6}\s+(.*?)\s*#*$/gm);
  const slug = (heading: string): string =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
  return new Set([...headings].map((match) => slug(match[1] ?? '')));
}
