/**
 * Sets: arrays whose elements are added and removed one by one. Nothing that is added is lost, and a removal removes only
 * the additions that it has seen.
 *
 * The difference between an event's images from before and after tells what it added and what it removed, but not which
 * addition it removed: where two regions add the same element, one of them removes it again, and that one did not know
 * of the other's addition, the element has to stay. So each element carries the events that added it (its additions);
 * a removal takes those that it has seen, and the element goes with the last one. Elements that everybody has seen carry
 * nothing, so that what is kept is about additions in flight only. An event that keeps an element does not add it.
 *
 * Elements are told apart by their text. The result has the elements that were there in their order, then the added
 * ones in theirs; an element that stood there twice stands there once. NULL is an empty set.
 */
import { parseArray, printArray } from './array-literal.ts';
import { type Heads, isEmpty, NOTHING, type Observer, unknownTo, withHead } from './heads.ts';
import { jsonbElements } from './jsonb-text.ts';

/** By element, who added it, where not everybody knows. */
export type Additions = { readonly [element: string]: Heads };

export type MergedSet = { readonly value: string | null; readonly additions: Additions };

type Elements = { readonly parse: (text: string) => (string | null)[] | null; readonly print: typeof printArray };

const JSONB: Elements = { parse: jsonbElements, print: (elements) => `[${elements.join(', ')}]` };
const ARRAY: Elements = { parse: parseArray, print: printArray };

/** `a` as changed by the event that found `base` and left `b`. */
export function mergeSet(
  typeName: string,
  base: string | null,
  a: string | null,
  b: string | null,
  additions: Additions,
  event: Observer,
): MergedSet {
  if (b === base) return { value: a, additions };
  const { parse, print } = elementsOf(typeName);
  const [former, current, later] = [base, a, b].map((value) => (value === null ? [] : parse(value)));
  // What is no set, such as an array of two dimensions, is one value.
  if (former == null || current == null || later == null) return { value: b, additions: {} };
  const [inFormer, inLater] = [new Set(former), new Set(later)];
  const elements: (string | null)[] = [];
  const kept: { [element: string]: Heads } = {};
  const keep = (element: string | null, by: Heads): void => {
    elements.push(element);
    if (!isEmpty(by)) kept[nameOf(element)] = by;
  };
  const inCurrent = new Set(current);
  for (const element of inCurrent) {
    const by = additions[nameOf(element)] ?? NOTHING;
    if (inFormer.has(element) === inLater.has(element)) keep(element, by);
    else if (inLater.has(element)) keep(element, withHead(by, event));
    else {
      const left = unknownTo(event, by);
      if (!isEmpty(left)) keep(element, left);
    }
  }
  for (const element of inLater) {
    if (!inFormer.has(element) && !inCurrent.has(element)) keep(element, withHead(NOTHING, event));
  }
  const isNull = elements.length === 0 && b === null;
  return { value: isNull ? null : print(elements), additions: kept };
}

/** Who added the elements of the event's own image, where that is taken as it is. */
export function additionsOf(
  typeName: string,
  base: string | null,
  b: string | null,
  additions: Additions,
  event: Observer,
): Additions {
  const { parse } = elementsOf(typeName);
  const former = new Set(base === null ? [] : parse(base));
  const kept: { [element: string]: Heads } = {};
  for (const element of new Set(b === null ? [] : parse(b))) {
    const name = nameOf(element);
    const by = additions[name] ?? NOTHING;
    const now = former.has(element) ? by : withHead(by, event);
    if (!isEmpty(now)) kept[name] = now;
  }
  return kept;
}

function elementsOf(typeName: string): Elements {
  return typeName === 'jsonb' ? JSONB : ARRAY;
}

/** NULL is told from the text NULL; and no element can be taken for a property that every object has. */
function nameOf(element: string | null): string {
  return element === null ? 'null' : `=${element}`;
}
