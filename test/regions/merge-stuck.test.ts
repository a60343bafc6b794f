/** A constraint that one region alone has stands in the way of a merged row there: that row waits, and nothing else does. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { agentStatus, setLink } from '../support/agent-client.ts';
import { HAS_ORIGINS } from '../support/agent-role.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { waitFor } from '../support/wait-for.ts';

type Entry = {
  readonly event_id: string;
  readonly row_pk: Record<string, string>;
  readonly sqlstate: string;
  readonly error: string;
};

/** What stands around a write that is to look as if the lane had made it. */
const UNDER_ORIGIN = [
  `select pg_replication_origin_session_setup(roname) from pg_replication_origin where roname like 'syncline%us' limit 1`,
  'select pg_replication_origin_session_reset()',
] as const;
const SIGNED = [`begin; select syncline.sign('us', clock_timestamp())`, 'commit'] as const;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({ regions: ['eu', 'us'], schema: 'create table stock (id int primary key, n int);' });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
  const { version_id } = await registerMerge(eu, { table: 'stock', columns: { n: 'counter' } });
  await untilMerge(cluster.regions, version_id, 'active');
});
after(async () => await cluster?.[Symbol.asyncDispose]());

async function listed(): Promise<Entry[]> {
  const answer = await fetch(`${us.api}/quarantine`);
  return ((await answer.json()) as { items: Entry[] }).items;
}

async function retry(id: string): Promise<{ applied: boolean; error: string | null }> {
  const answer = await fetch(`${us.api}/quarantine/retry`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ event_ids: [id] }),
  });
  const { items } = (await answer.json()) as { items: { applied: boolean; error: string | null }[] };
  assert.ok(items[0] !== undefined);
  return items[0];
}

test('a row that a local CHECK does not take waits by itself, and is tried again once that is mended', async () => {
  await eu.sql('insert into stock select i, 10 from generate_series(1, 40) i');
  await cluster.settle();
  // So that nothing is stable, and the histories stay.
  await setLink('us', eu, 'paused');
  await eu.sql('update stock set n = n + 3');
  await waitFor(async () => (await us.one('select bool_and(n = 13) from stock')) === 't', { what: 'us to have it' });
  await us.stopAgent();
  // The rows are not what the region was left with, and nobody's event says so: a look finds a local write at first, and
  // once the own stream has passed the place, that there was none.
  const [before, behind] = HAS_ORIGINS ? UNDER_ORIGIN : SIGNED;
  await us.sql(before);
  await us.sql('update stock set n = 12 where id <= 20');
  await us.sql(behind);
  await us.sql(`
    alter table stock add constraint here_only check (n <> 13 or id <> 7) not valid;
    update syncline.merge_state set visit_at = '0/1';`);
  us.startAgent();
  await us.agentReady();
  await waitFor(async () => (await us.one('select count(*) from stock where n = 13')) === '39', {
    what: 'all other rows to be what they merge to',
    limitMs: 60_000,
  });
  await waitFor(async () => (await listed()).length > 0, { what: 'the row to be set aside', limitMs: 60_000 });
  const [entry, ...others] = await listed();
  assert.ok(entry !== undefined);
  assert.deepEqual([others, entry.row_pk, entry.sqlstate], [[], { id: '7' }, '23514']);
  assert.match(entry.error, /^SYN-A111 .*here_only/);
  assert.equal((await agentStatus(us)).apply.state, 'running');
  assert.equal(await us.one('select n from stock where id = 7'), '12');

  // It goes on for everybody else, and for this row as well where the outcome is taken.
  await eu.sql('update stock set n = n + 1 where id <> 7');
  await waitFor(async () => (await us.one('select count(*) from stock where n = 14')) === '39', {
    what: 'what comes later to be applied',
    limitMs: 60_000,
  });
  const { restarts } = (await agentStatus(us)).apply;
  const failed = await retry(entry.event_id);
  assert.equal(failed.applied, false);
  assert.match(failed.error ?? '', /here_only/);
  await us.sql('alter table stock drop constraint here_only');
  assert.deepEqual(await retry(entry.event_id), { event_id: entry.event_id, applied: true, error: null });
  assert.deepEqual(await listed(), []);
  await setLink('us', eu, 'active');
  await cluster.settle();
  const rows = await cluster.equal('select id, n from stock order by id');
  assert.deepEqual(
    rows.map(([, n]) => n),
    rows.map(([id]) => (id === '7' ? '13' : '14')),
  );
  assert.equal((await agentStatus(us)).apply.restarts, restarts);
});
