/**
 * A clock that is further ahead than a link may be: its events are held, that is shown, the other links go on, and they
 * go on by themselves or by an operator's word.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { agentStatus, linkFrom } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run as syncline } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';

const MAX_DRIFT_MS = 3_000;

let cluster: Cluster;
let eu: ClusterRegion;
let ap: ClusterRegion;

before(async () => {
  cluster = await Cluster.start({
    schema: 'create table item (id int primary key, v text)',
    config: `capture: { heartbeat_ms: 100 }\nlimits: { max_clock_drift_ms: ${MAX_DRIFT_MS} }`,
    clocks: { ap: 0 },
  });
  [eu, ap] = [cluster.region('eu'), cluster.region('ap')];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

const valueAt = async (region: ClusterRegion, id: number): Promise<string | null> =>
  await region.one(`select v from item where id = ${id}`);

/** Writes at ap, whose clock is ahead, and sees that eu holds it and says so, while us still gets through. */
async function isHeld(id: number): Promise<void> {
  await ap.sql(`insert into item values (${id}, 'ahead')`);
  await waitFor(async () => (await linkFrom('ap', eu)).reason?.code === 'SYN-A006', { what: 'the link to be held' });
  const link = await linkFrom('ap', eu);
  assert.equal(link.status, 'degraded');
  assert.match(link.reason?.detail ?? '', /the next event of ap is \d+\.\d s ahead/);
  assert.ok((await agentStatus(eu)).problems.some(({ code }) => code === 'SYN-A006'));
  const metrics = await fetch(`${eu.api}/metrics`).then(async (answer) => await answer.text());
  assert.match(metrics, /syncline_problems\{code="SYN-A006",region="eu"\} 1/);
  const topology = await fetch(`${eu.api}/topology`).then(async (answer) => await answer.text());
  assert.match(topology, /SYN-A006/);

  await cluster.region('us').sql(`insert into item values (${id + 100}, 'in time')`);
  await waitFor(async () => (await valueAt(eu, id + 100)) === 'in time', { what: 'the other link to go on' });
  assert.equal(await valueAt(eu, id), null);
}

async function isReleased(id: number): Promise<void> {
  await waitFor(async () => (await valueAt(eu, id)) === 'ahead', { what: 'the held event', limitMs: 60_000 });
  await waitFor(async () => (await linkFrom('ap', eu)).status === 'active', { what: 'the link to be active' });
}

test('events of a clock that is too far ahead are held, and go on once the local clock has caught up', async () => {
  await ap.clock?.set(15);
  await isHeld(1);
  // Somebody sees to the clock; what it stamped before is waited for.
  await ap.clock?.set(0);
  await isReleased(1);
  await cluster.settle();
  await cluster.equal('select * from item order by id');
});

test('an operator lets them go on, for as long as the link is allowed to; and it is kept over a restart', async () => {
  await ap.clock?.set(3_600);
  await isHeld(2);
  const allowed = await syncline(['link', 'set', 'ap:eu', '--allow-drift', '2h', '--api', eu.api]);
  assert.equal(allowed.code, 0, allowed.stderr);
  assert.match(allowed.stdout, /ap:eu takes events up to 2 h 0 min ahead of the local clock/);
  await isReleased(2);
  assert.equal((await linkFrom('ap', eu)).allow_drift_ms, 7_200_000);

  assert.equal(await eu.stopAgent(), 0);
  eu.startAgent();
  await eu.agentReady();
  await ap.sql("insert into item values (3, 'ahead')");
  await isReleased(3);

  const revoked = await syncline(['link', 'set', 'ap:eu', '--allow-drift', 'none', '--api', eu.api]);
  assert.equal(revoked.code, 0, revoked.stderr);
  await waitFor(async () => (await linkFrom('ap', eu)).reason?.code === 'SYN-A006', {
    what: 'the link to be held again',
  });
});
