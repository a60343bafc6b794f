/**
 * Three-way merge of texts: what the two sides changed in different places is kept from both.
 *
 * By lines first; where both changed the same lines, by words within these. Where both changed the same words, they end as
 * the later event has them: no marks of a conflict are ever written into data. The search for what is common takes
 * time by the number of pairs of equal tokens, so texts with too many of these count as one place: by their size and
 * never by time, so that every region does the same.
 */
import { diff3MergeRegions } from 'node-diff3';

const CHARACTERS_MAX = 1_000_000;
const PAIRS_MAX = 200_000;

export function mergeText(base: string | null, a: string | null, b: string | null): string | null {
  if (b === base || a === b) return a;
  if (a === base || a === null || b === null) return b;
  const former = base ?? '';
  if (former.length + a.length + b.length > CHARACTERS_MAX) return b;
  return mergeTokens(former, a, b, toLines, (one, left, right) =>
    mergeTokens(one, left, right, toWords, (_former, _earlier, later) => later),
  );
}

type Merge = (base: string, a: string, b: string) => string;

function mergeTokens(base: string, a: string, b: string, tokens: (text: string) => string[], clash: Merge): string {
  const [former, left, right] = [tokens(base), tokens(a), tokens(b)];
  if (pairs(former, left) > PAIRS_MAX || pairs(former, right) > PAIRS_MAX) return b;
  let merged = '';
  for (const region of diff3MergeRegions(left, former, right)) {
    merged += region.stable
      ? region.bufferContent.join('')
      : clash(region.oContent.join(''), region.aContent.join(''), region.bContent.join(''));
  }
  return merged;
}

/** Lines with their ends. */
function toLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/** Words with the blanks behind them. */
function toWords(text: string): string[] {
  return text.match(/\s+|\S+\s*/g) ?? [];
}

/** How many pairs of equal tokens there are between the two. */
function pairs(one: readonly string[], other: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const token of one) counts.set(token, (counts.get(token) ?? 0) + 1);
  return other.reduce((sum, token) => sum + (counts.get(token) ?? 0), 0);
}
