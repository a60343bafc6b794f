/**
 * kill -9 of agents, of servers, and of both, at random moments under load.
 *
 * Nobody gets a chance to say goodbye: sockets, locks, leases and half-sent commits are left as they are. Afterwards
 * all regions are equal, every stream holds each transaction once, and a journal that the clients kept for themselves
 * finds every commit that was acknowledged to them: standing, overwritten by one that had seen it, or told of in the
 * conflict log.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { seededRandom, systemRandom } from '../../src/platform/random.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../support/journal.ts';
import { accountForAll, nothingTwice } from '../support/journal-check.ts';
import { StreamFollower } from '../support/journal-streams.ts';

const KILLS = Number(process.env.SYNCLINE_KILLS ?? 5);
const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const CLIENTS = 2;
const COMMITS_BETWEEN_MAX = 120;
const COMMITS_AWAY_MAX = 60;

type Kill = {
  readonly what: 'agent' | 'server' | 'both';
  readonly region: string;
  /** Commits that are acknowledged, anywhere, before the kill, and before what was killed comes back. */
  readonly before: number;
  readonly away: number;
  /** Whether all agents are at work again before that; else it may hit one that is still starting. */
  readonly isAmidWork: boolean;
};

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: JOURNAL_SCHEMA });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

test(`${KILLS} kills under load lose nothing that was acknowledged, and apply nothing twice`, async (t) => {
  const plan = killPlan(KILLS, SEED);
  t.diagnostic(`SYNCLINE_SEED=${SEED}: ${plan.map(({ what, region }) => `${what} of ${region}`).join(', ')}`);
  const journal = new Journal();
  await using follower = await StreamFollower.start(cluster);
  {
    await using _writers = new JournalWriters(cluster.regions, journal, { clients: CLIENTS, seed: SEED });
    for (const kill of plan) {
      if (kill.isAmidWork) await allReady();
      await journal.moreAcknowledged(kill.before);
      await carryOut(kill, cluster.region(kill.region), journal);
    }
    await allReady();
    await journal.moreAcknowledged(COMMITS_BETWEEN_MAX);
  }
  const fates = await accountForAll(cluster, journal);
  const unknown = [...journal.attempts.values()].filter(({ outcome }) => outcome === 'unknown').length;
  t.diagnostic(`${journal.acknowledged} acknowledged, ${unknown} in doubt; writes: ${JSON.stringify(fates)}`);
  await cluster.equal('select conflict_id, event_id_a, winner_event_id from syncline.conflict_log order by 1');
  assert.deepEqual(journal.surprises, []);
  for (const region of cluster.regions) await nothingTwice(region);

  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  assert.deepEqual(await follower.end(cluster), []);
});

async function allReady(): Promise<void> {
  await Promise.all(cluster.regions.map(async (region) => await region.agentReady()));
}

async function carryOut({ what, away }: Kill, region: ClusterRegion, journal: Journal): Promise<void> {
  if (what !== 'agent') await region.server.kill9();
  if (what !== 'server') await region.killAgent();
  await journal.moreAcknowledged(away);
  if (what !== 'agent') await region.server.restart();
  if (what !== 'server') region.startAgent();
}

function killPlan(count: number, seed: number): Kill[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, place) => ({
    // Each kind comes as often as the others, also in a short plan.
    what: (['agent', 'server', 'both'] as const)[place % 3] ?? 'both',
    region: random.pick(cluster.regions).name,
    before: 1 + random.below(COMMITS_BETWEEN_MAX),
    away: 1 + random.below(COMMITS_AWAY_MAX),
    isAmidWork: random.chance(0.5),
  }));
}
