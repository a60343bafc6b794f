import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Waiting } from '../apply/lane/applier.ts';
import type { LaneItem } from '../apply/lane-item.ts';
import { parseConfig } from '../platform/config.ts';
import { createLogger } from '../platform/logger.ts';
import { LinkStore } from '../topology/link-store.ts';
import { IncomingLinks } from './incoming-links.ts';

const CONFIG = `
region: eu
database: postgres://localhost/eu
log: { path: ./log }
api: { listen: 127.0.0.1:7400 }
peers: [{ region: us }]
`;
const LINK = { link_id: 'us:eu', source_region: 'us', target_region: 'eu', status: 'active', failover_priority: '0' };
const MINUTE_MS = 60_000;

async function linksOf(waiting: () => Waiting | null): Promise<IncomingLinks> {
  const query = async () => ({ rows: [LINK], rowCount: 1, command: 'SELECT' });
  const store = new LinkStore({ query }, 'eu');
  await store.open(['us']);
  return new IncomingLinks({
    config: parseConfig(CONFIG, {}),
    logger: createLogger({ level: 'silent' }),
    store,
    waiting,
    quarantined: () => 0,
    verdict: () => ({ kind: 'joined' }),
    keptMs: async () => null,
  });
}

const minutesAgo = (minutes: number): string => new Date(Date.now() - minutes * MINUTE_MS).toISOString();

test('the lag of a link is the age of what waits first, and grows while nobody reads its stream', async () => {
  let waiting: Waiting | null = { events: 0, oldest: null };
  const links = await linksOf(() => waiting);
  const lagMinutes = (): number => Math.round((links.all()[0]?.lag_ms ?? -1) / MINUTE_MS);
  assert.equal(lagMinutes(), 0);
  waiting = { events: 2, oldest: minutesAgo(5) };
  assert.equal(lagMinutes(), 5);

  const heartbeat = { kind: 'heartbeat', heartbeat: { committed_at: minutesAgo(7) } };
  links.passed('us', [heartbeat as LaneItem]);
  waiting = null;
  assert.equal(lagMinutes(), 7);
  waiting = { events: 0, oldest: null };
  assert.equal(lagMinutes(), 0);
});

test('a stream that nobody has read yet is as late as the agent is old', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 0 });
  const links = await linksOf(() => null);
  context.mock.timers.tick(3 * MINUTE_MS);
  assert.equal(links.all()[0]?.lag_ms, 3 * MINUTE_MS);
});
