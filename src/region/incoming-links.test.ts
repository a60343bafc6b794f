import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Waiting } from '../apply/lane/applier.ts';
import type { LaneItem } from '../apply/lane-item.ts';
import { parseConfig } from '../platform/config.ts';
import { createLogger } from '../platform/logger.ts';
import { LinkStore } from '../topology/link-store.ts';
import { clockProblem, IncomingLinks } from './incoming-links.ts';

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

test('a clock that is surely off is told, whichever way, and one that may be right is not', async () => {
  const [link] = (await linksOf(() => null)).all();
  assert.ok(link !== undefined);
  const told = (clock_drift_ms: number | null, clock_drift_error_ms: number | null): string | undefined =>
    clockProblem({ ...link, clock_drift_ms, clock_drift_error_ms })?.detail;
  assert.equal(told(5_000.4, 12), 'the clock of us is 5000 ms ahead of the local one');
  assert.equal(told(-350, 200), 'the clock of us is 350 ms behind the local one');
  assert.equal(told(101, null), 'the clock of us is 101 ms ahead of the local one');
  for (const [drift, error] of [
    [null, null],
    [100, 0],
    [350, 250],
    // Of one direction alone: it may be the way that takes so long.
    [-5_000, null],
  ] as const) {
    assert.equal(told(drift, error), undefined);
  }
});
