// `syncline merge shadow VERSION`: what a version would have made of conflicts that another rule decided.

import type { Command } from 'commander';
import type { MergeVersion, ShadowReport } from '../api/merge-schemas.ts';
import { type ApiClient, type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { renderShadow } from './merge-view.ts';
import { integer } from './option-values.ts';
import { print, printJson } from './output.ts';

type Flags = ApiFlags & { readonly limit: number; readonly json?: boolean };

const SAMPLES_MAX = 100;

/** `idOf` finds a version by the beginning of its id. */
export function addMergeShadow(merge: Command, idOf: (client: ApiClient, text: string) => Promise<string>): void {
  const command = merge
    .command('shadow')
    .description('Show what a version would have made of conflicts in its shadow, as counted in this region.')
    .argument('<version>', 'its id, or the beginning of it')
    .option('--limit <n>', 'how many samples', integer(1, SAMPLES_MAX), 10)
    .option('--json', 'print { version_id, counts, items }');
  addApiOptions(command).action(async (version: string, flags: Flags) => {
    const client = await clientOf(flags);
    const id = await idOf(client, version);
    const report = await client.get<ShadowReport>(`/merge-functions/${id}/shadow`, { limit: flags.limit });
    if (flags.json === true) return printJson(report);
    print(renderShadow(await client.get<MergeVersion>(`/merge-functions/${id}`), report));
  });
}
