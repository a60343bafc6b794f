/**
 * The three-way merge of a row, column by column: what an event has done (from `base` to `b`) done to `a`.
 *
 * A column of the key is the event's own. A column with a strategy goes by it, any other by the strategy of the rows: `lww` takes
 * the event's row, `lww-columns` what the event has changed. A value that was not sent (unchanged and stored out of line,
 * or a before-image that holds the key alone) is taken for unchanged in `b`; in `base` it leaves nothing to compare with,
 * and the event's value is taken.
 */
import type { Image } from '../change/change-event.ts';
import { mergeCounter, OUT_OF_RANGE } from './counter.ts';
import type { Observer } from './heads.ts';
import { mergeJson } from './json-merge.ts';
import type { MergedColumn, MergeRule } from './merge-rule.ts';
import { mergeExtreme } from './ordered-values.ts';
import { type Additions, additionsOf, mergeSet } from './set-merge.ts';
import { mergeText } from './text-merge.ts';
import { mergeYjs } from './yjs-merge.ts';

export type Sides = { readonly base: Image | null; readonly a: Image; readonly b: Image };

export type AdditionsByColumn = Readonly<Record<string, Additions>>;

export type MergedRow = {
  /** Null where a value is beyond its type's range. */
  readonly image: Image | null;
  readonly additions: AdditionsByColumn;
};

/** `byFunction` is what a custom function made of the row. */
export function mergeRow(
  rule: MergeRule,
  { base, a, b }: Sides,
  additions: AdditionsByColumn,
  event: Observer,
  byFunction: Image | null,
): MergedRow {
  const image: [string, string | null][] = [];
  const merged: [string, Additions][] = [];
  const takesChanges = rule.rows === 'lww-columns';
  for (const column of columnsOf(a, b)) {
    const [earlier, later] = [own(a, column), own(b, column)];
    const former = base === null ? null : own(base, column);
    const strategy = own(rule.columns, column);
    let value: string | null | typeof OUT_OF_RANGE;
    if (strategy === undefined && byFunction !== null) value = own(byFunction, column) ?? null;
    else if (earlier === undefined || later === undefined) value = later ?? earlier ?? null;
    else if (former === undefined || rule.key.includes(column)) value = later;
    else if (strategy === undefined) value = takesChanges && former === later && base !== null ? earlier : later;
    else if (strategy.strategy === 'set') {
      const known = own(additions, column) ?? {};
      const result = mergeSet(strategy.typeName, former, earlier, later, known, event);
      value = result.value;
      merged.push([column, result.additions]);
    } else value = mergeColumn(strategy, former, earlier, later);
    if (value === OUT_OF_RANGE) return { image: null, additions };
    image.push([column, value]);
  }
  return { image: Object.fromEntries(image), additions: merged.length === 0 ? NONE : Object.fromEntries(merged) };
}

/** The event's own row, taken as it is. */
export function takeRow(
  rule: MergeRule,
  before: Image | null,
  after: Image,
  additions: AdditionsByColumn,
  event: Observer,
): AdditionsByColumn {
  const taken: [string, Additions][] = [];
  for (const [column, { strategy, typeName }] of Object.entries(rule.columns)) {
    const value = own(after, column);
    if (strategy !== 'set' || value === undefined) continue;
    const former = before === null ? null : (own(before, column) ?? null);
    taken.push([column, additionsOf(typeName, former, value, own(additions, column) ?? {}, event)]);
  }
  return taken.length === 0 ? NONE : Object.fromEntries(taken);
}

const NONE: AdditionsByColumn = {};

/** The event's row with the values that were not sent: nobody has changed those. */
export function completed(after: Image, current: Image | null, before: Image | null): Image {
  const known = current ?? before;
  if (known === null) return after;
  for (const column of Object.keys(known)) {
    if (!Object.hasOwn(after, column)) return { ...known, ...after };
  }
  return after;
}

function mergeColumn(
  { strategy, typeName }: MergedColumn,
  base: string | null,
  a: string | null,
  b: string | null,
): string | null | typeof OUT_OF_RANGE {
  switch (strategy) {
    case 'counter':
      return mergeCounter(typeName, base, a, b);
    case 'max':
      return mergeExtreme(1, typeName, base, a, b);
    case 'min':
      return mergeExtreme(-1, typeName, base, a, b);
    case 'text':
      return mergeText(base, a, b);
    case 'json':
      return mergeJson(base, a, b);
    case 'yjs':
      return mergeYjs(base, a, b);
    case 'lww-columns':
      return b === base ? a : b;
    case 'lww':
    case 'set':
      return b;
  }
}

/** A column may well be named `constructor`, which every object has. */
function own<Value>(record: Readonly<Record<string, Value>>, column: string): Value | undefined {
  return Object.hasOwn(record, column) ? record[column] : undefined;
}

function columnsOf(a: Image, b: Image): Iterable<string> {
  const columns = Object.keys(b);
  const more = Object.keys(a).filter((column) => !Object.hasOwn(b, column));
  return more.length === 0 ? columns : [...columns, ...more];
}
