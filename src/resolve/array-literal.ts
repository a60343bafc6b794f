/**
 * Arrays of one dimension in PostgreSQL's text form, read and printed as the server prints them.
 *
 * Elements are their own type's text, or null. Arrays with more dimensions or a lower bound other than 1 are not read: as
 * sets they have no meaning, and printing them anew would lose the bounds.
 */
import { replaceEach } from '../platform/replace-each.ts';

/** What `array_out` puts quotes around, besides the empty text and the word NULL. */
const NEEDS_QUOTES = /["\\{}, \t\n\r\v\f]/;

/** Null where the text is no array of one dimension that counts from 1. */
export function parseArray(text: string): (string | null)[] | null {
  if (!text.startsWith('{') || !text.endsWith('}')) return null;
  if (text === '{}') return [];
  const elements: (string | null)[] = [];
  let at = 1;
  for (;;) {
    const element = text[at] === '"' ? readQuoted(text, at) : readPlain(text, at);
    if (element === null) return null;
    elements.push(element.value);
    at = element.end;
    if (text[at] === '}') return at === text.length - 1 ? elements : null;
    if (text[at] !== ',') return null;
    at += 1;
  }
}

export function printArray(elements: readonly (string | null)[]): string {
  return `{${elements.map(printElement).join(',')}}`;
}

function printElement(element: string | null): string {
  if (element === null) return 'NULL';
  const isBare = element !== '' && !NEEDS_QUOTES.test(element) && element.toUpperCase() !== 'NULL';
  return isBare ? element : `"${replaceEach(element, /["\\]/g, '\\$&')}"`;
}

type Read = { readonly value: string | null; readonly end: number };

function readQuoted(text: string, start: number): Read | null {
  let value = '';
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') return { value, end: at + 1 };
    if (character === '\\') at += 1;
    value += text[at] ?? '';
  }
  return null;
}

function readPlain(text: string, start: number): Read | null {
  let end = start;
  while (end < text.length && text[end] !== ',' && text[end] !== '}') {
    if (text[end] === '{' || text[end] === '"' || text[end] === '\\') return null;
    end += 1;
  }
  const value = text.slice(start, end);
  if (value === '') return null;
  return { value: value === 'NULL' ? null : value, end };
}
