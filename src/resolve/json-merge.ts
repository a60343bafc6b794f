/**
 * Three-way merge of jsonb, key by key.
 *
 * Objects are merged by their keys, however deep; a key that one side alone has changed, added or removed ends as that
 * side left it. Anything else (numbers, texts, arrays, an object against a scalar) is one value: changed on both sides, it
 * ends as the later event has it. Arrays are not merged by place: there is no telling which element is which.
 */
import { type Jsonb, jsonbObject, parseJsonb, printJsonb } from './jsonb-text.ts';

export function mergeJson(base: string | null, a: string | null, b: string | null): string | null {
  if (a === null || b === null) return b === base ? a : b;
  const merged = mergeValue(base === null ? undefined : parseJsonb(base), parseJsonb(a), parseJsonb(b));
  return merged === undefined ? b : printJsonb(merged);
}

/** Undefined is a key that is not there. */
function mergeValue(base: Jsonb | undefined, a: Jsonb | undefined, b: Jsonb | undefined): Jsonb | undefined {
  if (isSame(b, base) || isSame(a, b)) return a;
  if (isSame(a, base)) return b;
  if (typeof a !== 'object' || typeof b !== 'object') return b;
  const former = typeof base === 'object' ? base.entries : new Map<string, Jsonb>();
  const entries = new Map<string, Jsonb>();
  for (const key of new Set([...a.entries.keys(), ...b.entries.keys()])) {
    const value = mergeValue(former.get(key), a.entries.get(key), b.entries.get(key));
    if (value !== undefined) entries.set(key, value);
  }
  return jsonbObject(entries);
}

function isSame(one: Jsonb | undefined, other: Jsonb | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return printJsonb(one) === printJsonb(other);
}
