/**
 * Connections that are used up, and backends that an administrator ends: the agent comes back by itself, says meanwhile what is
 * in its way, and every acknowledged commit is accounted for.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../support/journal.ts';
import { accountForAll } from '../support/journal-check.ts';
import { waitFor } from '../support/wait-for.ts';

const SEED = 11;
const COMMITS = 40;
const ENDS = 8;
const CONNECTIONS = 40;
const OF_AGENT = `application_name like 'syncline%' and backend_type in ('client backend', 'walsender')`;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: JOURNAL_SCHEMA, settings: { max_connections: String(CONNECTIONS) } });
});
after(async () => await cluster?.[Symbol.asyncDispose]());
beforeEach(async () => {
  await cluster.settle();
});

const journal = new Journal();

test('backends of agents that are ended again and again, whatever they are about, cost nothing but time', async () => {
  {
    await using _ = new JournalWriters(cluster.regions, journal, { clients: 1, seed: SEED });
    for (let end = 0; end < ENDS; end += 1) {
      const region = cluster.regions[end % cluster.regions.length] as ClusterRegion;
      await journal.moreAcknowledged(COMMITS);
      const ended = await region.one(`select count(pg_terminate_backend(pid)) from pg_stat_activity where ${OF_AGENT}`);
      assert.ok(Number(ended) > 0, 'the agent had backends');
      await journal.moreAcknowledged(1);
      await region.agentReady();
    }
  }
  await accountFor();
});

test('an agent that gets no connection says so, and goes on once there is one', async () => {
  const eu = cluster.region('eu');
  const guests: PostgresClient[] = [];
  const comeIn = async (): Promise<void> => {
    for (;;) {
      try {
        guests.push(await eu.session());
      } catch {
        return;
      }
    }
  };
  const lasting = await eu.session();
  try {
    await using _ = new JournalWriters([cluster.region('us'), cluster.region('ap')], journal, {
      clients: 1,
      seed: SEED + 1,
    });
    await comeIn();
    // Whoever is quicker gets a place that falls free, so the agent's are taken one by one.
    await waitFor(
      async () => {
        await lasting.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${OF_AGENT}`);
        await comeIn();
        const { rows } = await lasting.query(`select count(*) as n from pg_stat_activity where ${OF_AGENT}`);
        const { apply } = await agentStatus(eu);
        return rows[0]?.n === '0' && apply.state === 'retrying' && /too many clients/.test(apply.problem?.detail ?? '');
      },
      { what: 'the agent of eu to have no connection left' },
    );
    assert.equal((await agentStatus(eu)).ready, false);
    await journal.moreAcknowledged(COMMITS);
  } finally {
    for (const guest of guests) await guest.end();
    await lasting.end();
  }
  await eu.agentReady();
  await accountFor();
});

async function accountFor(): Promise<void> {
  await accountForAll(cluster, journal);
  assert.deepEqual(journal.surprises, []);
}
