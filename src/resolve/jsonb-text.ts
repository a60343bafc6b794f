/**
 * jsonb in PostgreSQL's text form, read without losing anything and printed as the server prints it.
 *
 * jsonb is printed in one way only: no duplicate keys, keys by length and then by bytes, one blank behind each comma and
 * colon. So two values are equal where their texts are (save trailing zeros of numbers, which are told apart), and scalars
 * and arrays are kept as their text: `JSON.parse` would turn 12345678901234567890 and 1.10 into other numbers.
 * Whatever is nested deeper than the bound is kept as its text as well.
 */

/** An object by its keys (their text with quotes), or any other value as its text. */
export type Jsonb = string | JsonbObject;
export type JsonbObject = { readonly text: string; readonly entries: ReadonlyMap<string, Jsonb> };

const DEPTH_MAX = 200;

export function parseJsonb(text: string): Jsonb {
  return read(text, 0);
}

/** The elements' texts; null where it is no array. */
export function jsonbElements(text: string): string[] | null {
  if (!text.startsWith('[')) return null;
  return text === '[]' ? [] : members(text).map(({ start, end }) => text.slice(start, end));
}

export function printJsonb(value: Jsonb): string {
  return typeof value === 'string' ? value : value.text;
}

export function jsonbObject(entries: ReadonlyMap<string, Jsonb>): JsonbObject {
  const sorted = [...entries]
    .map(([key, value]) => ({ key, value, bytes: Buffer.from(JSON.parse(key) as string) }))
    .sort((one, other) => one.bytes.length - other.bytes.length || Buffer.compare(one.bytes, other.bytes));
  const text = `{${sorted.map(({ key, value }) => `${key}: ${printJsonb(value)}`).join(', ')}}`;
  return { text, entries: new Map(sorted.map(({ key, value }) => [key, value])) };
}

function read(text: string, depth: number): Jsonb {
  if (!text.startsWith('{') || depth >= DEPTH_MAX) return text;
  const entries = new Map<string, Jsonb>();
  if (text !== '{}') {
    for (const { start, end } of members(text)) {
      const keyEnd = endOfString(text, start);
      entries.set(text.slice(start, keyEnd), read(text.slice(keyEnd + 2, end), depth + 1));
    }
  }
  return { text, entries };
}

/** Where the members of a container that is not empty begin and end. */
function members(text: string): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  let depth = 0;
  let start = 1;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at) - 1;
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') depth -= 1;
    if (character === ',' && depth === 1) {
      found.push({ start, end: at });
      start = at + 2;
    }
  }
  found.push({ start, end: text.length - 1 });
  return found;
}

/** Behind the closing quote of the string that begins here. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}
