/**
 * A load of users on one database, from a process of its own: what measures has its event loop for itself then, and what
 * generates load cannot make a lag look longer than it is.
 *
 * Either single-row updates of a table of accounts, as pgbench has it, or TPC-B. A fixed rate says when each transaction is due,
 * however long the one before it took; without a rate every client goes on as soon as it is answered.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TpcbPart } from '../test/support/tpcb.ts';

export const ACCOUNTS = 100_000;

export const ACCOUNTS_SCHEMA = `
create table public.accounts (aid int primary key, bid int, abalance int, filler char(84));
insert into public.accounts select i, 1 + i % 10, 0, '' from generate_series(1, ${ACCOUNTS}) as i;`;

const COMPLAINT_MAX = 4_000;

export type Load = {
  readonly url: string;
  readonly clients: number;
  readonly seconds: number;
  readonly seed: number;
  /** Transactions a second of all clients together; null for as many as they reach. */
  readonly rate: number | null;
  /** TPC-B in that region, on that part of its rows; null for single-row updates. */
  readonly tpcb: { readonly region: string; readonly part: TpcbPart } | null;
};

export type LoadFigures = {
  readonly transactions: number;
  /** Failed transactions by SQLSTATE. */
  readonly failures: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** Of transactions, at a rate from when they were due; quantiles. */
  readonly tookMs: { readonly p50: number; readonly p99: number };
};

/** Resolves once all clients are connected, with what resolves at the load's end. */
export async function startLoad(load: Load): Promise<{ readonly done: Promise<LoadFigures> }> {
  const child = fork(join(import.meta.dirname, 'load-process.ts'), { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = `${complaint}${chunk.toString()}`.slice(-COMPLAINT_MAX);
  });
  const ended = once(child, 'close');
  const message = async (): Promise<unknown> => {
    const [told] = await Promise.race([once(child, 'message'), ended.then(() => [null])]);
    if (told === null) throw new Error(`the load on ${load.url.replace(/.*@/, '')} ended: ${complaint}`);
    return told;
  };
  child.send(load);
  await message();
  const done = message().then(async (figures) => {
    await ended;
    return figures as LoadFigures;
  });
  // Whoever started it may fail before it is awaited.
  done.catch(() => undefined);
  return { done };
}

export async function runLoad(load: Load): Promise<LoadFigures> {
  return await (await startLoad(load)).done;
}

/** Single-row transactions a second of clients that wait for each commit; throws where one fails. */
export async function reachedPerSecond(url: string, clients: number, seconds: number, seed: number): Promise<number> {
  const figures = await runLoad({ url, clients, seconds, seed, rate: null, tpcb: null });
  if (Object.keys(figures.failures).length > 0)
    throw new Error(`transactions failed: ${JSON.stringify(figures.failures)}`);
  return figures.transactions / figures.seconds;
}
