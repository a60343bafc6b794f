/**
 * TPC-B in three regions at once, with balances that are counters: in every region each balance is the sum of what the
 * history rows say, whoever wrote them; also with an agent that is killed again and again.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster } from '../support/cluster.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { runTpcb, TPCB_SCHEMA, TPCB_TABLES } from '../support/tpcb.ts';

const SECONDS = Number(process.env.SYNCLINE_LOAD_SECONDS ?? 8);
const SETTLE_LIMIT_MS = 60_000 + SECONDS * 2_000;
/** Counted tables with their balance, and what of the history adds up to it. */
const BALANCES = [
  ['pgbench_accounts', 'abalance', 'aid'],
  ['pgbench_tellers', 'tbalance', 'tid'],
  ['pgbench_branches', 'bbalance', 'bid'],
] as const;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: TPCB_SCHEMA });
  const [first] = cluster.regions;
  assert.ok(first);
  for (const [table, balance] of BALANCES) {
    const { version_id } = await registerMerge(first, { table: `public.${table}`, columns: { [balance]: 'counter' } });
    await untilMerge(cluster.regions, version_id, 'active');
  }
});
after(async () => await cluster?.[Symbol.asyncDispose]());

/** Returns how often an agent was killed. */
async function run(killsEveryMs: number | null): Promise<number> {
  const stopping = new AbortController();
  const [victim] = cluster.regions;
  let kills = 0;
  assert.ok(victim);
  const killing = (async () => {
    for (let at = performance.now(); killsEveryMs !== null && !stopping.signal.aborted; ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (performance.now() < at + killsEveryMs) continue;
      await victim.killAgent();
      victim.startAgent();
      kills += 1;
      at = performance.now();
    }
  })();
  await Promise.all(
    cluster.regions.map(
      async (region, place) => await runTpcb(region, { clients: 4, seconds: SECONDS, seed: 100 * (place + 1) }),
    ),
  );
  stopping.abort();
  await killing;
  await cluster.settle(SETTLE_LIMIT_MS);
  for (const table of TPCB_TABLES) await cluster.equal(`select * from ${table} order by 1, 2`);
  for (const region of cluster.regions) {
    for (const [table, balance, id] of BALANCES) {
      const wrong = await region.sql(
        `select b.${id}, b.${balance}, coalesce(h.sum, 0) from ${table} b
           left join (select ${id}, sum(delta) from pgbench_history group by 1) h using (${id})
          where b.${balance} <> coalesce(h.sum, 0)`,
      );
      assert.deepEqual(wrong, [], `${table} in ${region.name}`);
    }
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
  }
  return kills;
}

test('balances that are counters are the sums of all that was added in any region', async (t) => {
  await run(null);
  const [region] = cluster.regions;
  t.diagnostic(`${await region?.one('select count(*) from pgbench_history')} transactions`);
});

test('and so they are with an agent that is killed again and again', async (t) => {
  const kills = await run(Math.max(2_000, (SECONDS / 12) * 1_000));
  const [region] = cluster.regions;
  t.diagnostic(`${await region?.one('select count(*) from pgbench_history')} transactions, ${kills} kills`);
});
