// `syncline topology`: the regions, and the links that end where the agents asked are.

import type { Command } from 'commander';
import type { IneffectivePolicy, ReplicationLink } from '../monitor/agent-status.ts';
import { ApiClient, type ApiFlags, addApiOptions, targetsOf } from './api-client.ts';
import { bytes, duration, print, printJson } from './output.ts';
import { textTable } from './text-table.ts';

type Region = { readonly region_id: string; readonly is_self: boolean; readonly api: string | null };
type Topology = { readonly regions: readonly Region[]; readonly links: readonly ReplicationLink[] };

const REGION_COLUMNS = [{ title: 'REGION' }, { title: 'AGENT' }];
const LINK_COLUMNS = [
  { title: 'LINK' },
  { title: 'STATUS' },
  { title: 'MODE' },
  { title: 'LAG SLO' },
  { title: 'BANDWIDTH' },
  { title: 'PRIORITY' },
  { title: 'TABLES' },
];

const NOTE = '* kept, and not carried out by this version: links are asynchronous, unlimited, and have all tables';

export function registerTopology(program: Command): void {
  const command = program
    .command('topology')
    .description('List regions and links. An agent knows the links that end in its region: name several to see all.')
    .option('--json', 'print { regions, links }');
  addApiOptions(command, true).action(async (flags: ApiFlags & { readonly json?: boolean }) => {
    const clients = (await targetsOf(flags)).map((target) => new ApiClient(target));
    const answers = await Promise.all(
      clients.map(async (client) => ({ url: client.url, ...(await client.get<Topology>('/topology')) })),
    );
    const topology = merged(answers);
    if (flags.json === true) printJson(topology);
    else print(render(topology));
  });
}

/** One list of regions: what an agent says of itself counts, and its address is the one that answered. */
function merged(answers: readonly (Topology & { readonly url: string })[]): Topology {
  const regions = new Map<string, Region>();
  for (const { url, regions: known } of answers) {
    for (const region of known) {
      if (region.is_self) regions.set(region.region_id, { ...region, api: url });
      else if (!regions.has(region.region_id)) regions.set(region.region_id, region);
    }
  }
  return { regions: [...regions.values()], links: answers.flatMap(({ links }) => links) };
}

function render({ regions, links }: Topology): string {
  const regionRows = regions.map(({ region_id, api }) => [region_id, api ?? 'unknown']);
  const linkRows = links.map((link) => {
    const marked = (name: IneffectivePolicy, value: string): string =>
      ineffectiveOf(link).includes(name) ? `${value} *` : value;
    const { bandwidth_limit_bytes_per_s: limit } = link;
    return [
      link.link_id,
      link.status,
      marked('mode', link.mode),
      duration(link.lag_slo_ms),
      marked('bandwidth_limit_bytes_per_s', limit === null ? 'no limit' : `${bytes(limit)}/s`),
      marked('failover_priority', String(link.failover_priority)),
      marked('tables', link.tables === null ? 'all' : link.tables.join(', ')),
    ];
  });
  const note = links.some((link) => ineffectiveOf(link).length > 0) ? ['', NOTE] : [];
  return [...textTable(REGION_COLUMNS, regionRows), '', ...textTable(LINK_COLUMNS, linkRows), ...note].join('\n');
}

/** Agents of earlier versions do not tell. */
const ineffectiveOf = ({ ineffective }: Partial<ReplicationLink>): readonly IneffectivePolicy[] => ineffective ?? [];
