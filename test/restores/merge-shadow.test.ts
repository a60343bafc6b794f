/** A rule that runs in the shadow of what is in effect: no row changes by it, and every region counts the same. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ShadowReport } from '../../src/api/merge-schemas.ts';
import { setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { mergeIn, promoteMerge, registerMerge, untilMerge } from '../support/merge-client.ts';
import { waitFor } from '../support/wait-for.ts';

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    schema: `create table carts (id int primary key, qty int not null check (qty < 100), secret text);`,
    config: `conflicts: { redact: ["public.carts.secret"] }`,
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

async function reportOf({ api }: ClusterRegion, id: string): Promise<ShadowReport> {
  const answer = await fetch(`${api}/merge-functions/${id}/shadow`);
  assert.equal(answer.status, 200);
  return (await answer.json()) as ShadowReport;
}

/** Each region counts so many conflicts, and the same of everything; returns it. */
async function judged(id: string, conflicts: number): Promise<ShadowReport> {
  const reports: ShadowReport[] = [];
  for (const region of cluster.regions) {
    await waitFor(async () => ((await reportOf(region, id)).counts?.conflicts ?? 0) >= conflicts, {
      what: `${region.name} to judge ${conflicts} conflicts; its agent printed:\n${region.output.slice(-3_000)}`,
      limitMs: 90_000,
    });
    reports.push(await reportOf(region, id));
  }
  const [first, ...others] = reports;
  assert.ok(first !== undefined);
  for (const other of others) assert.deepEqual(other, first);
  assert.equal(first.counts?.conflicts, conflicts);
  return first;
}

async function conflict(inEu: string, inUs: string): Promise<void> {
  await setLink('us', eu, 'paused');
  await setLink('eu', us, 'paused');
  await eu.sql(inEu);
  await us.sql(inUs);
  await setLink('us', eu, 'active');
  await setLink('eu', us, 'active');
  await cluster.settle();
}

test('a version in shadow is compared with last writer wins, then with the rule in effect, and changes nothing', async () => {
  await eu.sql(`insert into carts select i, 10, 'hidden' from generate_series(1, 6) i`);
  await cluster.settle();
  const source = `export default ({ base, a, b }) => {
    if (a.id === '2') throw new Error('no');
    if (a.id === '3') for (;;);
    return { ...b, qty: String(Number(a.qty) + Number(b.qty) - Number(base.qty)) };
  }`;
  const { version_id } = await registerMerge(eu, { table: 'carts', source, rollout: { mode: 'shadow' } });
  await untilMerge(cluster.regions, version_id, 'active');
  assert.equal((await mergeIn(us, version_id))?.shadow, null);

  await conflict(
    `update carts set qty = qty + 1, secret = 'eu' where id <= 5`,
    'update carts set qty = qty + 5 where id <= 4',
  );
  assert.deepEqual(await cluster.equal('select qty from carts order by id'), [
    ...Array.from({ length: 4 }, () => ['15']),
    ['11'],
    ['10'],
  ]);
  const first = await judged(version_id, 4);
  assert.deepEqual(first.counts, { conflicts: 4, differences: 2, failures: { exhausted: 1, threw: 1 }, skipped: 0 });
  const byId = new Map(first.items.map((item) => [item.row_pk.id, item]));
  assert.deepEqual(new Set(byId.keys()), new Set(['1', '2', '3', '4']));
  const told = byId.get('1');
  assert.deepEqual(
    [told?.base_image, told?.image_a, told?.image_b, told?.result_image, told?.shadow_image].map((image) => image?.qty),
    ['10', '11', '15', '15', '16'],
  );
  assert.deepEqual([told?.merge_version, told?.failure, told?.region_id], [null, null, 'us']);
  assert.deepEqual([byId.get('2')?.failure, byId.get('2')?.shadow_image?.qty], ['threw', '15']);
  assert.deepEqual(told?.redacted, ['secret']);
  for (const region of cluster.regions) {
    const logged = `select merge_shadow_sample::text || coalesce((select string_agg(c::text, '') from syncline.merge_shadow_case c), '')
      from syncline.merge_shadow_sample`;
    for (const [row] of await region.sql(logged)) assert.doesNotMatch(row ?? '', /hidden/);
  }

  // What is in effect may be another rule by then. The sum is not valid any more for one of them.
  const counter = await registerMerge(us, { table: 'carts', columns: { qty: 'counter' } });
  await untilMerge(cluster.regions, counter.version_id, 'active');
  await promoteMerge(us, version_id, { mode: 'shadow' });
  await untilMerge(cluster.regions, version_id, 'active');
  await eu.sql('update carts set qty = 60 where id = 5');
  await cluster.settle();
  await conflict('update carts set qty = qty + 30 where id >= 5', 'update carts set qty = qty + 30 where id >= 5');
  assert.deepEqual(await cluster.equal('select qty from carts where id >= 5 order by id'), [['90'], ['70']]);
  const second = await judged(version_id, 6);
  assert.deepEqual([second.counts?.differences, second.counts?.failures], [2, { exhausted: 1, invalid: 1, threw: 1 }]);
  assert.equal(second.items.find(({ failure }) => failure === 'invalid')?.merge_version, counter.version_id);

  const { stdout } = await run(['merge', 'shadow', version_id.slice(0, 12), '-c', eu.configPath]);
  assert.match(
    stdout,
    /6 conflicts in its shadow; 2 would have come out differently; failed: 1 exhausted, 1 invalid, 1 threw/,
  );
  assert.match(stdout, /qty: 15, and in shadow 16 \(found 10, earlier 11, later 15\)/);
  const list = await run(['merge', 'list', '-c', eu.configPath]);
  assert.match(list.stdout, /6 conflicts in its shadow/);
});
