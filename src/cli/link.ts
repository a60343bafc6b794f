// `syncline link pause|resume`: holds a link back, and lets it go on at the last acknowledged event.

import type { Command } from 'commander';
import type { ReplicationLink } from '../monitor/agent-status.ts';
import { type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { print, printJson } from './output.ts';

const ACTIONS = [
  { name: 'pause', status: 'paused', description: 'Hold a link back; its events stay in the log of the source.' },
  { name: 'resume', status: 'active', description: 'Let a link go on, at the last acknowledged event.' },
] as const;

export function registerLink(program: Command): void {
  const link = program.command('link').description('Pause or resume a link, at the agent of its target.');
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
}
