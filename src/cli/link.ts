// `syncline link pause|resume|set`: holds a link back, lets it go on at the last acknowledged event, changes its policy.

import type { Command } from 'commander';
import type { ReplicationLink } from '../monitor/agent-status.ts';
import { type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { spanMs } from './option-values.ts';
import { duration, print, printJson } from './output.ts';

const ACTIONS = [
  { name: 'pause', status: 'paused', description: 'Hold a link back; its events stay in the log of the source.' },
  { name: 'resume', status: 'active', description: 'Let a link go on, at the last acknowledged event.' },
] as const;

type SetFlags = ApiFlags & { readonly allowDrift: number | 'none'; readonly json?: boolean };

export function registerLink(program: Command): void {
  const link = program.command('link').description('Pause, resume or change a link, at the agent of its target.');
  for (const { name, status, description } of ACTIONS) {
    const command = link
      .command(name)
      .description(description)
      .argument('<link>', 'source:target')
      .option('--json', 'print the link');
    addApiOptions(command).action(async (id: string, flags: ApiFlags & { readonly json?: boolean }) => {
      const client = await clientOf(flags);
      const changed = await client.patch<ReplicationLink>(`/topology/links/${encodeURIComponent(id)}`, { status });
      if (flags.json === true) printJson(changed);
      else
        print(
          `${changed.link_id} is ${changed.status}; last acknowledged event: ${changed.last_acked_event_id ?? 'none'}`,
        );
    });
  }
  const set = link
    .command('set')
    .description('Change the policy of a link; it is kept over restarts.')
    .argument('<link>', 'source:target')
    .requiredOption(
      '--allow-drift <time>',
      'apply events up to this far ahead of the local clock (90s, 10m, 2h, 1d), or none beyond max_clock_drift_ms',
      spanMs,
    )
    .option('--json', 'print the link');
  addApiOptions(set).action(async (id: string, flags: SetFlags) => {
    const client = await clientOf(flags);
    const policy = { allow_drift_ms: flags.allowDrift === 'none' ? null : flags.allowDrift };
    const changed = await client.patch<ReplicationLink>(`/topology/links/${encodeURIComponent(id)}`, policy);
    if (flags.json === true) printJson(changed);
    else print(`${changed.link_id} ${drift(changed.allow_drift_ms)}`);
  });
}

function drift(allowed: number | null): string {
  return allowed === null
    ? 'allows no more drift than max_clock_drift_ms'
    : `takes events up to ${duration(allowed)} ahead of the local clock`;
}
