/**
 * Runs the benchmarks that are named, or those that need nothing but Node and npm, and writes `bench/results/<name>.json`.
 * Compare ratios of one run, never times of two.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Measured } from './measured.ts';

type Benchmark = {
  readonly measure: () => Promise<Measured[]>;
  readonly sides: { readonly syncline: string | readonly string[]; readonly peer: string };
  /** What the summary compares, with its unit; a side that has none of them is told without. */
  readonly metrics: Readonly<Record<string, string>>;
};

/** What one metric of one side came to, over the rounds. */
type Spread = { readonly median: number; readonly min: number; readonly max: number };

const TRANSACTIONS = Number(process.env.BENCH_TRANSACTIONS ?? 200_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 10);

const PEAKS = { agent_memory_peak_mb_eu: 'MB', agent_memory_peak_mb_us: 'MB' };

function lagsAt(places: readonly string[]): Record<string, string> {
  const metrics = places.flatMap((place) =>
    ['lag_p50_ms', 'lag_p95_ms', 'lag_p99_ms', 'lag_max_ms'].map((metric) => [`${metric}_${place}`, 'ms'] as const),
  );
  return { ...Object.fromEntries(metrics), ...PEAKS };
}

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  apply: {
    measure: async () => await (await import('./apply.ts')).measureApply(TRANSACTIONS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: {
      apply_transactions_per_s: 'transactions/s',
      apply_transactions_without_origins_per_s: 'transactions/s',
    },
  },
  backlog: {
    measure: async () => await (await import('./backlog.ts')).measureBacklog(TRANSACTIONS, SECONDS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: {
      caught_up_per_s_in_log: 'transactions/s',
      caught_up_per_s_in_slot: 'transactions/s',
      caught_up_per_written: '1',
      agent_memory_peak_mb: 'MB',
    },
  },
  giant: {
    measure: async () => await (await import('./giant.ts')).measureGiant(2.5 * TRANSACTIONS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: { rows_per_s: 'rows/s', agent_memory_peak_mb: 'MB' },
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
  writes: {
    measure: async () => await (await import('./writes.ts')).measureWrites(SECONDS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: {
      transactions_per_s_running: 'transactions/s',
      transactions_per_s_paused: 'transactions/s',
      running_to_without: '1',
      paused_to_without: '1',
      ...PEAKS,
    },
  },
  mixed: {
    measure: async () => await (await import('./mixed.ts')).measureMixed(SECONDS, ROUNDS),
    sides: { syncline: 'syncline', peer: 'postgresql' },
    metrics: {
      sustained_transactions_per_s: 'transactions/s',
      transactions_per_s: 'transactions/s',
      catch_up_s: 's',
      failed_transactions: 'transactions',
      unequal_rows: 'rows',
      ...PEAKS,
    },
  },
  regions: {
    measure: async () => await (await import('./regions.ts')).measureRegions(TRANSACTIONS / 10, SECONDS, ROUNDS),
    sides: { syncline: ['3 regions', '4 regions', '6 regions'], peer: '2 regions' },
    metrics: {
      cpu_ms_per_received_event: 'ms',
      processors_of_region: 'processors',
      processors_of_region_at_rest: 'processors',
      received_events_per_s_of_region: 'events/s',
      applied_events_per_s: 'events/s',
      cpu_ms_per_event_caught_up: 'ms',
      agent_memory_peak_mb: 'MB',
    },
  },
  memory: {
    measure: async () => await (await import('./memory.ts')).measureMemory(SECONDS, ROUNDS),
    sides: { syncline: 'agents', peer: 'none' },
    metrics: { idle_mb: 'MB', peak_mb_eu: 'MB', peak_mb_us: 'MB' },
  },
  // Needs Debian's package faketime.
  clocks: {
    measure: async () => await (await import('./clocks.ts')).measureClocks(SECONDS, ROUNDS),
    sides: { syncline: 'skew of 5 s', peer: 'no skew' },
    metrics: { slow_region_transactions_per_s: 'transactions/s', applied_transactions_per_s: 'transactions/s' },
  },
  // These need Java, and once Maven.
  heartbeat: {
    measure: async () => await (await import('./heartbeat.ts')).measureHeartbeat(SECONDS, ROUNDS),
    sides: { syncline: ['embedded', 'kafka'], peer: 'postgresql' },
    metrics: lagsAt(['at_0_per_s', 'at_500_per_s', 'at_2000_per_s']),
  },
  wan: {
    measure: async () => await (await import('./heartbeat.ts')).measureFromAfar(SECONDS, ROUNDS),
    sides: { syncline: 'kafka', peer: 'postgresql' },
    metrics: lagsAt([
      'at_40_ms_and_0_per_s',
      'at_40_ms_and_500_per_s',
      'at_150_ms_and_0_per_s',
      'at_150_ms_and_500_per_s',
    ]),
  },
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
      const [ours, peer] = [spread(runs, side, metric), spread(runs, sides.peer, metric)];
      const ratio = ours === null || peer === null || peer.median === 0 ? null : ours.median / peer.median;
      const told = [`${side} ${tell(ours)}`];
      if (peer !== null) told.push(`${sides.peer} ${tell(peer)}`);
      if (ratio !== null) told.push(`ratio ${ratio.toFixed(2)}`);
      console.log(`${name}, ${metric}: ${told.join(', ')}`);
      // Where several sides have one peer, it is told which.
      const named = { ...(compared.length > 1 ? { side } : {}), metric, unit };
      const spreads = { syncline_spread: rangeOf(ours), peer_spread: rangeOf(peer) };
      return { ...named, syncline: ours?.median ?? null, peer: peer?.median ?? null, ratio, ...spreads };
    }),
  );
  const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? 'unknown', memory_bytes: totalmem() };
  const result = { name, at: new Date().toISOString(), machine, runs, summary };
  const directory = join(import.meta.dirname, 'results');
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
}

/** What is small keeps two digits that count. */
function rounded(value: number): string {
  if (value < 10) return String(Number(value.toPrecision(2)));
  return value < 100 ? value.toFixed(1) : String(Math.round(value));
}

/** Null where the side has no such metric. */
function spread(runs: readonly Measured[], side: string, metric: string): Spread | null {
  const values = runs.filter((run) => run.side === side && run.metric === metric).map((run) => run.value);
  values.sort((a, b) => a - b);
  const [min, median, max] = [values[0], values[values.length >> 1], values.at(-1)];
  return min === undefined || median === undefined || max === undefined ? null : { median, min, max };
}

function rangeOf(spread: Spread | null): readonly [number, number] | null {
  return spread === null ? null : [spread.min, spread.max];
}

function tell(spread: Spread | null): string {
  if (spread === null) return 'not measured';
  return `${rounded(spread.median)} (${rounded(spread.min)}..${rounded(spread.max)})`;
}
