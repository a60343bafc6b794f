/** Runs every benchmark and writes `bench/results/<name>.json`. Compare ratios of one run, never times of two. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

export type Measured = { readonly side: string; readonly metric: string; readonly value: number };

const { measureApply } = await import('./apply.ts');

const TRANSACTIONS = Number(process.env.BENCH_TRANSACTIONS ?? 200_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);

const runs = await measureApply(TRANSACTIONS, ROUNDS);
const metric = 'apply_transactions_per_s';
const syncline = median('syncline');
const peer = median('postgresql');
const result = {
  name: 'apply',
  at: new Date().toISOString(),
  machine: { cpus: cpus().length, model: cpus()[0]?.model ?? 'unknown', memory_bytes: totalmem() },
  runs,
  summary: [{ metric, unit: 'transactions/s', syncline, peer, ratio: syncline / peer }],
};
const directory = join(import.meta.dirname, 'results');
await mkdir(directory, { recursive: true });
await writeFile(join(directory, 'apply.json'), `${JSON.stringify(result, null, 2)}\n`);
console.log(
  `apply: syncline ${Math.round(syncline)}/s, PostgreSQL ${Math.round(peer)}/s, ratio ${(syncline / peer).toFixed(2)}`,
);

function median(side: string): number {
  const values = runs.filter((run) => run.side === side).map((run) => run.value);
  values.sort((a, b) => a - b);
  return values[values.length >> 1] ?? Number.NaN;
}
