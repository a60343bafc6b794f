/**
 * Where the time of an agent goes: `npm run profile -- [in-log|in-slot|giant|steady]`, while a region catches up, or keeps up.
 *
 * To catch up, the work is that of the benchmark `backlog`, or of `giant` from its commit on; to keep up, users commit single-row updates in one region at a steady rate. Both
 * after a round that warms up. Both agents are sampled twice a millisecond by the engine's own profiler, from letting go
 * until the last row is visible, or for as long as users write. The shares are printed by part of the source, and the profiles are written where any viewer
 * of `.cpuprofile` files draws them as flame graphs.
 */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { ClusterRegion } from '../test/support/cluster.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { BACKLOG_SCHEMA, letWait } from './backlog.ts';
import { GIANT_SCHEMA, insertGiant } from './giant.ts';
import { ACCOUNTS, startLoad } from './load.ts';
import { markSeen, SynclinePair, untilThere, type Waits } from './pairs.ts';

const TRANSACTIONS = Number(process.env.BENCH_TRANSACTIONS ?? 2 * ACCOUNTS);
const GIANT_ROWS = 2.5 * TRANSACTIONS;
const CLIENTS = 8;
const SECONDS = Number(process.env.BENCH_SECONDS ?? 10);
/** Commits, of all clients together. */
const PER_SECOND = 500;
const SAMPLE_MICROS = 500;
const START_LIMIT_MS = 10_000;
const ROOT = join(import.meta.dirname, '..');
const RESULTS = join(import.meta.dirname, 'results');
const FUNCTIONS_TOLD = 12;
/** Parts with less are left out. */
const SHARE_TOLD = 0.005;

type Node = {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
};
type Profile = {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** Resolves with how many seconds the work took; there is no profiler yet when it warms up. */
type Work = (pair: SynclinePair, profilers: readonly Profiler[]) => Promise<number>;

async function profileWork(place: string, schema: string, work: Work): Promise<void> {
  await using pair = await SynclinePair.start(schema);
  await work(pair, []);
  const profilers: Profiler[] = [];
  for (const region of pair.regions) profilers.push(await Profiler.attach(region));
  const seconds = await work(pair, profilers);
  await mkdir(RESULTS, { recursive: true });
  for (const profiler of profilers) {
    const profile = await profiler.stop();
    const path = join(RESULTS, `${place}-${profiler.region}.cpuprofile`);
    await writeFile(path, JSON.stringify(profile));
    console.log(`\nagent of ${profiler.region}, ${seconds.toFixed(1)} s, written to ${relative(ROOT, path)}`);
    for (const line of tell(profile)) console.log(`  ${line}`);
  }
}

const catchUp =
  (place: Waits): Work =>
  async (pair, profilers) => {
    await untilThere(pair);
    const mark = await letWait(pair, place, TRANSACTIONS);
    const startedMs = performance.now();
    await pair.resume(place);
    for (const profiler of profilers) await profiler.start();
    await markSeen(pair, mark);
    return (performance.now() - startedMs) / 1_000;
  };

const followGiant: Work = async (pair, profilers) => {
  await untilThere(pair);
  await insertGiant(pair, profilers.length, GIANT_ROWS);
  for (const profiler of profilers) await profiler.start();
  return (await untilThere(pair)) / 1_000;
};

const keepUp: Work = async (pair, profilers) => {
  await untilThere(pair);
  const load = { clients: CLIENTS, seconds: SECONDS, seed: profilers.length, rate: PER_SECOND, tpcb: null };
  const { done } = await startLoad({ url: pair.sourceUrl, ...load });
  for (const profiler of profilers) await profiler.start();
  return (await done).seconds;
};

/** The profiler of one agent, through the inspector that SIGUSR1 opens on loopback. */
class Profiler {
  readonly region: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #asked = 0;

  private constructor(region: string, socket: WebSocket) {
    this.region = region;
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
      if (id !== undefined) this.#waiting.get(id)?.(result);
    });
  }

  static async attach(region: ClusterRegion): Promise<Profiler> {
    region.agent?.kill('SIGUSR1');
    const address = await waitFor(() => /Debugger listening on (ws:\S+)/.exec(region.output)?.[1], {
      what: `the inspector of ${region.name}`,
      limitMs: START_LIMIT_MS,
    });
    const socket = new WebSocket(address);
    await once(socket, 'open');
    return new Profiler(region.name, socket);
  }

  async start(): Promise<void> {
    await this.#ask('Profiler.enable');
    await this.#ask('Profiler.setSamplingInterval', { interval: SAMPLE_MICROS });
    await this.#ask('Profiler.start');
  }

  async stop(): Promise<Profile> {
    const { profile } = (await this.#ask('Profiler.stop')) as { readonly profile: Profile };
    this.#socket.close();
    return profile;
  }

  async #ask(method: string, params: object = {}): Promise<unknown> {
    this.#asked += 1;
    const id = this.#asked;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return await promise;
  }
}

/** Shares of all samples: of the parts of the source by themselves, then of single functions. */
function tell({ nodes, samples, timeDeltas }: Profile): string[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parts = new Map<string, number>();
  const functions = new Map<string, number>();
  let total = 0;
  for (const [place, id] of samples.entries()) {
    const node = byId.get(id);
    const micros = timeDeltas[place] ?? 0;
    if (node === undefined) continue;
    total += micros;
    add(parts, partOf(node), micros);
    add(functions, nameOf(node), micros);
  }
  const share = ([name, micros]: readonly [string, number]): string =>
    `${((100 * micros) / total).toFixed(1).padStart(5)} %  ${name}`;
  const largest = (sums: Map<string, number>): (readonly [string, number])[] => [...sums].sort((a, b) => b[1] - a[1]);
  const told = largest(parts).filter(([, micros]) => micros >= SHARE_TOLD * total);
  return [...told.map(share), '', ...largest(functions).slice(0, FUNCTIONS_TOLD).map(share)];
}

function add(sums: Map<string, number>, name: string, amount: number): void {
  sums.set(name, (sums.get(name) ?? 0) + amount);
}

/** A folder of ours, a package, or what the engine does itself. */
function partOf({ callFrame: { functionName, url } }: Node): string {
  if (url === '') return functionName === '' ? '(native)' : functionName.startsWith('(') ? functionName : '(native)';
  if (url.startsWith('node:')) return 'node';
  return /\/src\/([^/]+)\//.exec(url)?.[1] ?? /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url;
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: Node): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name}, ${url.replace(/^.*\/(?=[^/]+\/[^/]+$)/, '')}:${lineNumber + 1}`;
}

// Each agent's inspector has a port of its own.
process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --inspect-port=0`;
const WORK: Readonly<Record<string, readonly [schema: string, work: Work]>> = {
  'in-log': [BACKLOG_SCHEMA, catchUp('in-log')],
  'in-slot': [BACKLOG_SCHEMA, catchUp('in-slot')],
  giant: [GIANT_SCHEMA, followGiant],
  steady: [BACKLOG_SCHEMA, keepUp],
};
const where = process.argv[2] ?? 'in-log';
const chosen = WORK[where];
if (chosen === undefined) throw new Error(`${where} is none of ${Object.keys(WORK).join(', ')}`);
await profileWork(where, ...chosen);
