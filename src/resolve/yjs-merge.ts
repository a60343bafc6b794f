/**
 * Yjs documents in bytea columns: the updates of both sides together.
 *
 * `mergeUpdates` works on the encoded updates and makes no document, so it needs no clock and no client id. Deleted text stays
 * deleted, because updates carry what was deleted. How it cuts a run of text that both sides have, and cut differently,
 * depends on which is named first; so the lesser by its bytes is, and merging is commutative. Three updates give the same
 * document in any grouping, in bytes that can differ: that regions hold the same bytes follows from the fold's one
 * order. (A document made of them would be worse: its bytes depend on the order of its parts nearly always.) A value that is no
 * Yjs update, and one that is too large, ends as the later event has it.
 */
import { mergeUpdates } from 'yjs';

const HEX_MAX = 2 * 16 * 1024 * 1024;

export function mergeYjs(base: string | null, a: string | null, b: string | null): string | null {
  if (b === base || a === b) return a;
  if (a === null || b === null || a.length + b.length > HEX_MAX) return b;
  const [one, other] = [bytesOf(a), bytesOf(b)];
  if (one === null || other === null) return b;
  try {
    return `\\x${Buffer.from(mergeUpdates([one, other].sort((left, right) => Buffer.compare(left, right)))).toString('hex')}`;
  } catch {
    // The library throws plain errors of many kinds at what is no update.
    return b;
  }
}

function bytesOf(text: string): Buffer | null {
  return text.startsWith('\\x') ? Buffer.from(text.slice(2), 'hex') : null;
}
