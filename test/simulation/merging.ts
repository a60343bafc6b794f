/**
 * How the table `merged` merges in a seed: two rules, with changes from one to the other in mid-flight, and what answers the
 * fold's questions. The second rule has a function that is neither commutative nor associative nor anything else.
 */
import { hash } from 'node:crypto';
import type { MergeFunctions } from '../../src/apply/merges/merge-writer.ts';
import type { Image } from '../../src/change/change-event.ts';
import { isAbove } from '../../src/change/version.ts';
import type { Random } from '../../src/platform/random.ts';
import { compareEvents, type FoldAnswer, type FoldRequest, foldOn, type MergeAnswer } from '../../src/resolve/fold.ts';
import { foldNow } from '../../src/resolve/fold-drivers.ts';
import { type FoldState, settledRow } from '../../src/resolve/fold-state.ts';
import type { KnownMerges, RegisteredRule, Validity } from '../../src/resolve/known-merges.ts';
import type { MergeRule } from '../../src/resolve/merge-rule.ts';
import { MERGED } from './model-store.ts';
import { isValidRow } from './model-validity.ts';
import type { RowEvent } from './published.ts';

/** Each odd one is the first rule, each even one the second. */
export const VERSIONS: readonly string[] = Array.from({ length: 60 }, (_, place) => String(place + 1));
/** What a seed begins with where a rule is active from the beginning. */
export const FIRST_VERSION = 1;
const DELETES = ['latest', 'delete-wins', 'update-wins'] as const;

export type Merging = {
  /** Whether users only add to counters: then no increment may be lost. */
  readonly countsOnly: boolean;
  /** Whether a rule is active before any is activated; else last writer wins. */
  readonly isActiveFirst: boolean;
  readonly rules: ReadonlyMap<string, RegisteredRule>;
  /** How many events of a history are packed together. */
  readonly packEvents: number;
};

export function chooseMerging(random: Random): Merging {
  const countsOnly = random.chance(0.25);
  const checks = countsOnly ? [] : ['n >= -4', 'n < 6'];
  const validity: Validity = { not_null: [], checks, isPlain: countsOnly };
  const rule = (rows: MergeRule['rows']): MergeRule => ({
    table: `public.${MERGED}`,
    key: ['id'],
    rows,
    columns: {
      n: { strategy: 'counter', typeName: 'int4' },
      s: { strategy: 'set', typeName: '_text' },
      m: { strategy: 'max', typeName: 'int4' },
    },
    deletes: random.pick(DELETES),
    needsValidation: validity.checks.length > 0,
  });
  const second = countsOnly || random.chance(0.3) ? 'lww-columns' : { hash: 'any' };
  const rules = [rule(random.pick(['lww', 'lww-columns'] as const)), rule(second)];
  return {
    countsOnly,
    isActiveFirst: countsOnly || random.chance(0.7),
    packEvents: random.pick([1, 2, 32]),
    rules: new Map(VERSIONS.map((version, place) => [version, { rule: rules[place % 2] as MergeRule, validity }])),
  };
}

export function registryOf({ rules, isActiveFirst }: Merging): KnownMerges {
  const name = JSON.stringify(['public', MERGED]);
  const active = new Map(isActiveFirst ? [[name, String(FIRST_VERSION)]] : []);
  return { rules, active, tracked: new Set([name]) };
}

export function strategyOf({ rules }: Merging, version: string): string {
  const rows = rules.get(version)?.rule.rows;
  return [typeof rows === 'string' ? rows : 'function', 'counter', 'set', 'max'].join('+');
}

/** The fold of a row from what it was before any event. */
export function foldMerged(events: readonly RowEvent[], before: Image | null, merging: Merging): FoldState {
  const row = events.map(({ hlc, origin, found, merge, ...event }) => {
    const rule = merge === undefined ? undefined : merging.rules.get(merge)?.rule;
    return { ...event, before: found ?? null, version: { hlc, origin }, rule };
  });
  return foldNow(foldOn(settledRow(before), row.sort(compareEvents)), answerFor(merging)).state;
}

/** The row behind the step of an event. */
export function resultBehind(
  event: RowEvent,
  events: readonly RowEvent[],
  before: Image | null,
  merging: Merging,
): Image | null {
  return foldMerged(
    events.filter((each) => !isAbove(each, event)),
    before,
    merging,
  ).image;
}

export const mergeAny: MergeFunctions = async (requests) => requests.map(anyMerge);

/** What answers the fold of the oracle. */
export function answerFor({ rules }: Merging): (request: FoldRequest) => FoldAnswer {
  return (request) => {
    if (request.kind === 'merge') return anyMerge(request);
    const validity = [...rules.values()].find(({ rule }) => rule === request.rule)?.validity;
    return isValidRow(request.image, validity ?? { not_null: [], checks: [], isPlain: true });
  };
}

/** Anything, as long as it follows from what goes in: mostly of both, sometimes of one, sometimes it fails. */
function anyMerge({ base, a, b }: { readonly base: Image | null; readonly a: Image; readonly b: Image }): MergeAnswer {
  const digest = hash('md5', JSON.stringify([base?.v, a.v, b.v]), 'hex');
  if (digest.startsWith('0')) return { fallback: 'threw' };
  return { image: { ...b, v: digest < '5' ? (a.v ?? null) : digest.slice(0, 6) } };
}
