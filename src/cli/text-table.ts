// Tables for a terminal: columns as wide as their widest cell, numbers to the right.
//
// Width counts characters as a terminal shows them: escape sequences take none, wide letters take two.

import { stripVTControlCharacters } from 'node:util';

export type Column = { readonly title: string; readonly align?: 'left' | 'right' };

const GAP = '  ';
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u;
const MARK = /\p{Mark}|\u200d/u;

/** Lines of the table; a column whose cells are all empty is left out. */
export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const places = columns.map((_, place) => place).filter((place) => rows.some((row) => (row[place] ?? '') !== ''));
  const widths = places.map((place) => {
    return Math.max(...[columns[place]?.title ?? '', ...rows.map((row) => row[place] ?? '')].map(widthOf));
  });
  const line = (cells: readonly string[]): string => {
    const padded = places.map((place, at) => pad(cells[place] ?? '', widths[at] ?? 0, columns[place]?.align ?? 'left'));
    return padded.join(GAP).trimEnd();
  };
  return [line(columns.map(({ title }) => title)), ...rows.map(line)];
}

function pad(text: string, width: number, align: 'left' | 'right'): string {
  const space = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'left' ? text + space : space + text;
}

export function widthOf(text: string): number {
  let width = 0;
  for (const character of stripVTControlCharacters(text)) {
    if (!MARK.test(character)) width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/** The text in one line and within the width; what a terminal would take for a command is shown by its code. */
export function shortened(text: string, width: number): string {
  // The first characters are enough to fill the width: a value may be megabytes.
  const printable = text
    .slice(0, width * 2)
    .replaceAll(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
  if (widthOf(printable) <= width && text.length <= width * 2) return printable;
  let short = '';
  for (const character of printable) {
    if (widthOf(short + character) > width - 1) break;
    short += character;
  }
  return `${short}…`;
}
