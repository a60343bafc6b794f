/** What an agent holds of rows that merge, whose events are kept for as long as a region is away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peaksOf, residentMegabytes } from '../support/agent-memory.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { waitFor } from '../support/wait-for.ts';

const TRANSACTIONS = Number(process.env.SYNCLINE_MERGES_TRANSACTIONS ?? 60_000);
const ROWS = 1_000;
const LIMIT_MS = 300_000 + TRANSACTIONS;

test(`${TRANSACTIONS} transactions on ${ROWS} counters while a region is away`, async (t) => {
  await using cluster = await Cluster.start({
    schema: `create table counter (id int primary key, n bigint not null); insert into counter select i, 0 from generate_series(0, ${ROWS} - 1) i;
      create procedure work(count int) language plpgsql as $$ begin
        for i in 1 .. count loop update counter set n = n + 1 where id = (i * 7) % ${ROWS}; commit; end loop; end $$`,
    settings: { synchronous_commit: 'off' },
  });
  const [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
  const { version_id } = await registerMerge(eu, { table: 'public.counter', columns: { n: 'counter' } });
  await untilMerge(cluster.regions, version_id, 'active');
  await cluster.settle();
  await ap.killAgent();
  for (const part of [1, 2, 3, 4, 5, 6]) {
    const start = performance.now();
    await Promise.all([eu, us].map(async (region) => await region.sql(`call work(${TRANSACTIONS / 12})`)));
    const total = String((TRANSACTIONS / 6) * part);
    for (const region of [eu, us])
      await waitFor(async () => (await region.one('select sum(n) from counter')) === total, {
        what: `${region.name} to count ${total}`,
        limitMs: LIMIT_MS,
      });
    t.diagnostic(
      `${total}: ${Math.round(performance.now() - start)} ms, ${Math.round(await residentMegabytes(eu))} MB`,
    );
  }
  ap.startAgent();
  await ap.agentReady();
  await cluster.settle(LIMIT_MS);
  assert.deepEqual(await cluster.equal('select sum(n) from counter'), [[String(TRANSACTIONS)]]);
  t.diagnostic(JSON.stringify(await peaksOf(cluster.regions)));
});
