/**
 * An agent whose database answers late, because it is far or has no time: every batch takes long then, however small it is, and a
 * link that is behind catches up all the same.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { agentStatus, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

/** One way; a batch takes several ways to and fro, and so more than half a second. */
const LATENCY_MS = 120;
/** After so many batches that take long, the next one has a single row where time alone decides. */
const SLOW_BATCHES = 14;
const ROWS = 1_500;
const LIMIT_MS = 150_000;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: `create table item (id int primary key);
      create procedure fill(low int, high int) language plpgsql as $$ begin
        for i in low .. high loop insert into item values (i); commit; end loop; end $$`,
    isProxied: true,
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

test('a link to a database that is far catches up, after many batches that took long', async () => {
  assert.ok(us.proxy !== null);
  us.proxy.latencyMs = LATENCY_MS;
  const batches = async (): Promise<number> => (await agentStatus(us)).apply.batches;
  const wanted = (await batches()) + SLOW_BATCHES;
  let written = 0;
  await waitFor(
    async () => {
      written += 1;
      await eu.sql(`insert into item values (-${written})`);
      return (await batches()) >= wanted;
    },
    { what: `${SLOW_BATCHES} batches`, limitMs: LIMIT_MS },
  );
  await setLink('eu', us, 'paused');
  await eu.sql(`call fill(1, ${ROWS})`);
  await setLink('eu', us, 'active');
  await waitFor(async () => (await us.one('select count(*) from item where id > 0')) === String(ROWS), {
    what: () => `all rows to be there; the agent printed:\n${us.output}`,
    limitMs: LIMIT_MS,
  });
  us.proxy.latencyMs = 0;
  await cluster.settle();
  assert.equal((await cluster.equal('select * from item order by id')).length, ROWS + written);
});
