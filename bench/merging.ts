/**
 * What merging costs beside last writer wins: one hot row with counters that many regions add to at once, and a function
 * of one's own in the sandbox. Everything in memory: the database is measured by `apply`.
 */
import { makePosition, type Position } from '../src/change/position.ts';
import { type FoldEvent, foldOn } from '../src/resolve/fold.ts';
import { foldNow, foldTogether, neverAsked } from '../src/resolve/fold-drivers.ts';
import { settledRow } from '../src/resolve/fold-state.ts';
import { LAST_WRITER_WINS, type MergeRule } from '../src/resolve/merge-rule.ts';
import { RowFold } from '../src/resolve/row-fold.ts';
import { MergeSandbox } from '../src/resolve/sandbox/merge-sandbox.ts';
import { makeMergeVersion } from '../src/resolve/sandbox/merge-version.ts';
import type { Measured } from './measured.ts';

const REGIONS = 5;
/** How far behind the newest event the others' are known. */
const LATE = 20;
const BATCH = 100;
const BASE = { id: '1', n: '0', name: 'a name', note: 'a note of some length, as rows have them' };

const COUNTER: MergeRule = {
  ...LAST_WRITER_WINS,
  table: 'public.t',
  key: ['id'],
  rows: 'lww-columns',
  columns: { n: { strategy: 'counter', typeName: 'int8' } },
};

/** Every region adds one in turn, each knowing the others' of some time ago. */
function history(count: number, rule: MergeRule): FoldEvent[] {
  const place = (at: number): Position => makePosition('0000000000000000001', BigInt(at + 1));
  return Array.from({ length: count }, (_, at) => {
    const origin = `r${at % REGIONS}`;
    const seen: { [region: string]: Position } = {};
    for (let other = Math.max(0, at - LATE - REGIONS); other < at - LATE; other += 1)
      seen[`r${other % REGIONS}`] = place(other);
    const before = { ...BASE, n: String(at) };
    return {
      version: { hlc: BigInt(at + 1), origin },
      position: place(at),
      index: 0,
      seen,
      before,
      after: { ...before, n: String(at + 1) },
      rule,
    };
  });
}

/** In batches, each followed by pruning what is stable, as a region does. */
export function measureFold(events: number, rounds: number): Measured[] {
  const measured: Measured[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const [side, rule] of [
      ['counter', COUNTER],
      ['last writer wins', LAST_WRITER_WINS],
    ] as const) {
      const made = history(events, rule);
      const fold = new RowFold<FoldEvent>(settledRow(BASE));
      const start = performance.now();
      for (let from = 0; from < made.length; from += BATCH) {
        for (const event of made.slice(from, from + BATCH)) fold.add(event);
        foldNow(fold.fold(), neverAsked);
        const stable = made[from - BATCH]?.version;
        if (stable !== undefined) foldNow(fold.prune(stable), neverAsked);
      }
      measured.push({ side, metric: 'folded_events_per_s', value: events / ((performance.now() - start) / 1000) });
    }
  }
  return measured;
}

export async function measureSandbox(calls: number, rounds: number): Promise<Measured[]> {
  const source = 'export default ({ base, a, b }) => ({ ...b, n: String(Number(a.n) + Number(b.n) - Number(base.n)) })';
  const version = makeMergeVersion(source, 'javascript');
  const measured: Measured[] = [];
  await using sandbox = new MergeSandbox();
  await sandbox.check(version);
  for (let round = 0; round < rounds; round += 1) {
    for (const [side, rule] of [
      ['function', { ...COUNTER, rows: version, columns: {} }],
      ['counter', COUNTER],
    ] as const) {
      const pairs = Array.from({ length: calls }, () => history(2, rule));
      const start = performance.now();
      await foldTogether(
        pairs.map((events) => foldOn(settledRow(BASE), events)),
        {
          merge: (requests) => sandbox.merge(requests),
          validate: () => Promise.reject(new Error('nobody validates')),
        },
      );
      measured.push({ side, metric: 'merged_rows_per_s', value: calls / ((performance.now() - start) / 1000) });
    }
  }
  return measured;
}
