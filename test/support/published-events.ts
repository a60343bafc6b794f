/** What the regions of a cluster have published so far, read from its log beside the agents. */
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { loadConfig } from '../../src/platform/config.ts';
import { RegionLogs } from '../../src/region-logs.ts';
import type { ClusterRegion } from './cluster.ts';

/** All events of the region's own stream, in its order. */
export async function publishedBy({ configPath, name }: ClusterRegion): Promise<ChangeEvent[]> {
  await using logs = await RegionLogs.open(await loadConfig(configPath), () => undefined);
  await using reader = await logs.of(name).reader(name);
  const items = new TransactionReader(reader, (await reader.bounds())?.first ?? 0);
  const events: ChangeEvent[] = [];
  for await (const item of items.items()) {
    if (item.kind === 'transaction') events.push(...item.events);
    else if (item.kind === 'giant') for await (const chunk of item.chunks()) events.push(...chunk);
  }
  return events;
}
