// `syncline status`: how links, capture and apply of one or more agents are, once or again and again.
//
// A rate needs two readings, so even a single look takes a second one a moment later.

import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { AgentStatus } from '../monitor/agent-status.ts';
import { SynclineError } from '../platform/errors.ts';
import { ApiClient, type ApiFlags, addApiOptions, targetsOf } from './api-client.ts';
import { integer } from './option-values.ts';
import { print, printJson } from './output.ts';
import { describeError } from './report-error.ts';
import { renderStatus } from './status-view.ts';

type Flags = ApiFlags & { readonly json?: boolean; readonly watch?: number | boolean };

const RATE_WINDOW_MS = 500;
const WATCH_DEFAULT_S = 1;
const CLEAR = '\u001b[H\u001b[J';

export function registerStatus(program: Command): void {
  const command = program
    .command('status')
    .description('Show how links, capture and apply are, and what to do about problems.')
    .option('--watch [seconds]', 'refresh until Ctrl-C', integer(1, 3_600))
    .option('--json', 'print what the agents answer');
  addApiOptions(command, true).action(status);
}

/** One reading of an agent, or why there is none. */
export type Reading =
  | { readonly url: string; readonly at: number; readonly status: AgentStatus }
  | { readonly url: string; readonly at: number; readonly error: SynclineError };

async function status(flags: Flags): Promise<void> {
  const clients = (await targetsOf(flags)).map((target) => new ApiClient(target));
  if (flags.json === true) {
    const answers = await Promise.all(clients.map((client) => client.get<AgentStatus>('/status')));
    printJson(answers.length === 1 ? answers[0] : answers);
    return;
  }
  if (flags.watch === undefined) {
    const before = await Promise.all(clients.map(read));
    const failed = before.find((reading) => 'error' in reading);
    if (failed !== undefined && 'error' in failed) throw failed.error;
    await delay(RATE_WINDOW_MS);
    print(show(await Promise.all(clients.map(read)), before));
    return;
  }
  await watch(clients, (flags.watch === true ? WATCH_DEFAULT_S : Number(flags.watch)) * 1_000);
}

/** An agent that is away is shown so, and asked again. */
async function watch(clients: readonly ApiClient[], periodMs: number): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  let before: Reading[] = [];
  while (!stop.signal.aborted) {
    const now = await Promise.all(clients.map(read));
    print(`${process.stdout.isTTY ? CLEAR : ''}${show(now, before)}`);
    before = now;
    await delay(periodMs, undefined, { signal: stop.signal }).catch(() => undefined);
  }
}

async function read(client: ApiClient): Promise<Reading> {
  const { url } = client;
  try {
    const status = await client.get<AgentStatus>('/status');
    return { url, at: performance.now(), status };
  } catch (error) {
    if (!(error instanceof SynclineError)) throw error;
    return { url, at: performance.now(), error };
  }
}

function show(now: readonly Reading[], before: readonly Reading[]): string {
  const parts = now.map((reading) => {
    if ('error' in reading) return `${reading.url}\n${describeError(reading.error)}\n`;
    const earlier = before.find((each) => each.url === reading.url);
    return renderStatus(reading, earlier !== undefined && 'status' in earlier ? earlier : undefined);
  });
  return parts.join('\n');
}
