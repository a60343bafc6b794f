/**
 * Runs the benchmarks that are named, or those that need nothing but Node and npm, and writes `bench/results/<name>.json`.
 * Compare ratios of one run, never times of two.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

export type Measured = { readonly side: string; readonly metric: string; readonly value: number };

type Benchmark = {
  readonly measure: () => Promise<Measured[]>;
  readonly sides: { readonly syncline: string | readonly string[]; readonly peer: string };
  /** What the summary compares, with its unit. */
  readonly metrics: Readonly<Record<string, string>>;
};

const TRANSACTIONS = Number(process.env.BENCH_TRANSACTIONS ?? 200_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 10);

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  apply: {
    measure: async () => await (await import('./apply.ts')).measureApply(TRANSACTIONS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: { apply_transactions_per_s: 'transactions/s' },
  },
  backlog: {
    measure: async () => await (await import('./backlog.ts')).measureBacklog(TRANSACTIONS, SECONDS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: {
      caught_up_per_s_in_log: 'transactions/s',
      caught_up_per_s_in_slot: 'transactions/s',
      caught_up_per_written: '1',
    },
  },
  giant: {
    measure: async () => await (await import('./giant.ts')).measureGiant(2.5 * TRANSACTIONS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: { rows_per_s: 'rows/s' },
  },
  fold: {
    measure: async () => (await import('./merging.ts')).measureFold(TRANSACTIONS, ROUNDS),
    sides: { syncline: 'counter', peer: 'last writer wins' },
    metrics: { folded_events_per_s: 'events/s' },
  },
  sandbox: {
    measure: async () => await (await import('./merging.ts')).measureSandbox(TRANSACTIONS / 100, ROUNDS),
    sides: { syncline: 'function', peer: 'counter' },
    metrics: { merged_rows_per_s: 'rows/s' },
  },
  merges: {
    measure: async () => await (await import('./merges.ts')).measureMerges(TRANSACTIONS / 10, ROUNDS),
    sides: { syncline: ['counter', 'function'], peer: 'lww' },
    metrics: {
      applied_transactions_per_s_at_1_percent: 'transactions/s',
      applied_transactions_per_s_at_100_percent: 'transactions/s',
      settled_transactions_per_s_at_1_percent: 'transactions/s',
      settled_transactions_per_s_at_100_percent: 'transactions/s',
    },
  },
  foreground: {
    measure: async () => await (await import('./foreground.ts')).measureForeground(SECONDS, ROUNDS),
    sides: { syncline: 'lane at work', peer: 'lane at rest' },
    metrics: { transaction_p50_ms: 'ms', transaction_p99_ms: 'ms', transactions_per_s: 'transactions/s' },
  },
  // Needs Debian's package faketime.
  clocks: {
    measure: async () => await (await import('./clocks.ts')).measureClocks(SECONDS, ROUNDS),
    sides: { syncline: 'skew of 5 s', peer: 'no skew' },
    metrics: { slow_region_transactions_per_s: 'transactions/s', applied_transactions_per_s: 'transactions/s' },
  },
  // Needs Java, and once Maven.
  lag: {
    measure: async () => await (await import('./lag.ts')).measureLag(SECONDS, ROUNDS),
    sides: { syncline: 'kafka', peer: 'embedded' },
    metrics: {
      lag_p50_ms_at_500_per_s: 'ms',
      lag_p99_ms_at_500_per_s: 'ms',
      transactions_per_s_at_500_per_s: 'transactions/s',
      lag_p50_ms_at_2000_per_s: 'ms',
      lag_p99_ms_at_2000_per_s: 'ms',
      transactions_per_s_at_2000_per_s: 'transactions/s',
    },
  },
};

const named = process.argv.slice(2);
for (const name of named.length === 0 ? ['apply'] : named) {
  const benchmark = BENCHMARKS[name];
  if (benchmark === undefined) throw new Error(`no benchmark ${name}; there are ${Object.keys(BENCHMARKS).join(', ')}`);
  await runBenchmark(name, benchmark);
}

async function runBenchmark(name: string, { measure, sides, metrics }: Benchmark): Promise<void> {
  const runs = await measure();
  const compared = [sides.syncline].flat();
  const summary = compared.flatMap((side) =>
    Object.entries(metrics).map(([metric, unit]) => {
      const [syncline, peer] = [median(runs, side, metric), median(runs, sides.peer, metric)];
      console.log(
        `${name}, ${metric}: ${side} ${rounded(syncline)}, ${sides.peer} ${rounded(peer)}, ratio ${(syncline / peer).toFixed(2)}`,
      );
      // Where several sides have one peer, it is told which.
      return { ...(compared.length > 1 ? { side } : {}), metric, unit, syncline, peer, ratio: syncline / peer };
    }),
  );
  const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? 'unknown', memory_bytes: totalmem() };
  const result = { name, at: new Date().toISOString(), machine, runs, summary };
  const directory = join(import.meta.dirname, 'results');
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
}

/** What is small keeps a digit behind the point. */
function rounded(value: number): string {
  return value < 100 ? value.toFixed(1) : String(Math.round(value));
}

function median(runs: readonly Measured[], side: string, metric: string): number {
  const values = runs.filter((run) => run.side === side && run.metric === metric).map((run) => run.value);
  values.sort((a, b) => a - b);
  return values[values.length >> 1] ?? Number.NaN;
}
