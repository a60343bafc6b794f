/** Versions of merge rules in three regions: registered in one, acknowledged and activated in all, and named by events. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ChangeEvent } from '../../src/change/change-event.ts';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { mergeIn, promoteMerge, registerMerge, rollbackMerge, untilMerge } from '../support/merge-client.ts';
import { publishedBy } from '../support/published-events.ts';
import { waitFor } from '../support/wait-for.ts';

const TABLES = ['carts', 'steps', 'shares', 'shadows', 'held', 'killed', 'odd', 'late', 'again'];

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
let ap: ClusterRegion;
before(async () => {
  const schema = TABLES.map((table) => `create table ${table} (id int primary key, qty int, items text[]);`).join('\n');
  cluster = await Cluster.start({ schema, versions: { ap: 15 } });
  [eu, us, ap] = ['eu', 'us', 'ap'].map((name) => cluster.region(name)) as [
    ClusterRegion,
    ClusterRegion,
    ClusterRegion,
  ];
});
after(async () => {
  await cluster[Symbol.asyncDispose]();
});

/** What the events of a table name, in the order of each region's stream. */
async function named(table: string): Promise<Record<string, (ChangeEvent & { readonly id: string })[]>> {
  await cluster.settle();
  const streams = await Promise.all(
    cluster.regions.map(async (region) => {
      const events = (await publishedBy(region)).filter(({ table_name }) => table_name === table);
      return [region.name, events.map((event) => ({ ...event, id: event.row_pk.id ?? '' }))] as const;
    }),
  );
  return Object.fromEntries(streams);
}

/** One row in each region, with the ids n, n + 1 and n + 2. */
async function write(table: string, from: number): Promise<void> {
  for (const [place, region] of cluster.regions.entries()) {
    await region.sql(`insert into ${table} values (${from + place}, 0)`);
  }
}

describe('a version', () => {
  test('is named by events once all can run it, and not before; its content comes before it in each stream', async () => {
    await write('carts', 1);
    const version = await registerMerge(eu, { table: 'public.carts', columns: { qty: 'counter', items: 'set' } });
    assert.equal(version.table, 'public.carts');
    await untilMerge(cluster.regions, version.version_id, 'active');
    const told = await mergeIn(ap, version.version_id);
    assert.deepEqual(told?.regions.map(({ region, state }) => `${region} ${state}`).sort(), [
      'ap active',
      'eu active',
      'us active',
    ]);
    assert.deepEqual([told?.missing_regions, told?.registered_by], [[], 'eu']);
    await write('carts', 4);
    for (const [region, events] of Object.entries(await named('carts'))) {
      assert.deepEqual(
        events.map(({ merge }) => merge),
        [undefined, version.version_id],
        region,
      );
    }
    for (const region of cluster.regions) {
      const events = await publishedBy(region);
      const place = (fits: (event: ChangeEvent) => boolean): number => events.findIndex(fits);
      const isOwn = (event: ChangeEvent, table: string): boolean =>
        event.table_name === table && event.after_image?.region === region.name;
      const copy = place((event) => isOwn(event, 'merge_version'));
      const ack = place((event) => isOwn(event, 'merge_ack'));
      const activation = place((event) => isOwn(event, 'merge_activation'));
      const use = place(({ merge }) => merge === version.version_id);
      assert.ok(copy >= 0 && copy < activation && ack >= 0 && ack < activation && activation < use, region.name);
    }
    const rows = `select region, version_id, definition from syncline.merge_version order by 1, 2`;
    const copies = await cluster.equal(rows);
    assert.equal(copies.length, 3);
    await cluster.equal('select * from syncline.merge_ack order by 1, 2');
    await cluster.equal('select * from syncline.merge_intent order by 1, 2, 3');
    await cluster.equal('select * from syncline.merge_activation order by 1, 2, 3');
    const conflicts = `select count(*) from syncline.conflict_log where schema_name = 'syncline'`;
    assert.deepEqual(await cluster.equal(conflicts), [['0']]);
  });

  test('is rolled back and promoted from any region, and retired once no region names it', async () => {
    const first = await registerMerge(eu, { table: 'steps', columns: { qty: 'counter' } });
    await untilMerge(cluster.regions, first.version_id, 'active');
    await write('steps', 1);
    const second = await registerMerge(us, { table: 'steps', strategy: 'lww-columns' });
    await untilMerge(cluster.regions, second.version_id, 'active');
    await untilMerge(cluster.regions, first.version_id, 'retired');
    await write('steps', 4);
    await rollbackMerge(ap, second.version_id);
    await untilMerge(cluster.regions, second.version_id, 'retired');
    await untilMerge(cluster.regions, first.version_id, 'active');
    await write('steps', 7);
    await rollbackMerge(eu, first.version_id);
    await untilMerge(cluster.regions, first.version_id, 'retired');
    await write('steps', 10);
    await promoteMerge(us, second.version_id);
    await untilMerge(cluster.regions, second.version_id, 'active');
    await write('steps', 13);
    const expected = [first, second, first, undefined, second].map((version) => version?.version_id);
    for (const [region, events] of Object.entries(await named('steps'))) {
      assert.deepEqual(
        events.map(({ merge }) => merge),
        expected,
        region,
      );
    }
  });

  test('takes the same rows everywhere by percentage, and the others go by the one before', async () => {
    const base = await registerMerge(eu, { table: 'shares', columns: { qty: 'counter' } });
    await untilMerge(cluster.regions, base.version_id, 'active');
    const rollout = { mode: 'percent', percent: 40 } as const;
    const version = await registerMerge(us, { table: 'shares', columns: { qty: 'max' }, rollout });
    await untilMerge(cluster.regions, version.version_id, 'active', (told) => told.rollout?.role === 'version');
    assert.deepEqual((await mergeIn(ap, base.version_id))?.rollout, { ...rollout, role: 'base' });
    await eu.sql('insert into shares select n, 0 from generate_series(1, 300) n');
    await cluster.settle();
    for (const region of [us, ap]) await region.sql('update shares set qty = qty + 1');
    const streams = Object.values(await named('shares'));
    const taken = streams.map((events) => [
      ...new Set(events.filter(({ merge }) => merge === version.version_id).map(({ id }) => id)),
    ]);
    for (const ids of taken) assert.deepEqual(ids.toSorted(), taken[0]?.toSorted());
    const share = (taken[0]?.length ?? 0) / 300;
    assert.ok(share > 0.3 && share < 0.5, `${share}`);
    const others = streams.flat().filter(({ merge }) => merge !== version.version_id);
    assert.ok(others.length > 0 && others.every(({ merge }) => merge === base.version_id));
    await promoteMerge(eu, version.version_id);
    await untilMerge(cluster.regions, base.version_id, 'retired');
  });

  test('runs in the shadow of what is in effect', async () => {
    const source = 'export default ({ a, b }: { a: object; b: object }): object => ({ ...a, ...b });';
    const version = await registerMerge(ap, { table: 'shadows', source, rollout: { mode: 'shadow' } });
    await untilMerge(cluster.regions, version.version_id, 'active');
    await write('shadows', 1);
    for (const [region, events] of Object.entries(await named('shadows'))) {
      assert.deepEqual(
        events.map(({ merge, merge_shadow }) => [merge, merge_shadow]),
        [[undefined, version.version_id]],
        region,
      );
    }
  });

  test('waits for a region that is away, which is named, and for one that is killed in between', async () => {
    await ap.stopAgent();
    const version = await registerMerge(eu, { table: 'held', columns: { qty: 'counter' } });
    const isMissing = ({ missing_regions }: { missing_regions: readonly string[] }): boolean =>
      missing_regions.join() === 'ap';
    await untilMerge([eu, us], version.version_id, 'staged', isMissing);
    await eu.sql('insert into held values (1, 0)');
    await us.killAgent();
    await us.sql('insert into held values (2, 0)');
    ap.startAgent();
    // It had said that it can run it, and not yet that its histories are ready.
    await untilMerge([eu, ap], version.version_id, 'acknowledged', ({ regions }) =>
      regions.every(({ state }) => state === 'acknowledged'),
    );
    await ap.sql('insert into held values (3, 0)');
    us.startAgent();
    await us.agentReady();
    await untilMerge(cluster.regions, version.version_id, 'active');
    await us.sql('insert into held values (4, 0)');
    const streams = await named('held');
    assert.deepEqual(
      ['eu', 'us', 'ap'].map((region) => streams[region]?.map(({ id, merge }) => [id, merge !== undefined])),
      [
        [['1', false]],
        [
          ['2', false],
          ['4', true],
        ],
        [['3', false]],
      ],
    );
  });

  test('that a region cannot run is refused there, with the reason, until the region can', async () => {
    await ap.sql('alter table odd alter column qty type bigint');
    const version = await registerMerge(eu, { table: 'odd', columns: { qty: 'counter' } });
    await untilMerge(cluster.regions, version.version_id, 'staged', ({ regions }) =>
      regions.some(({ region, state }) => region === 'ap' && state === 'refused'),
    );
    const refused = (await mergeIn(us, version.version_id))?.regions.find(({ region }) => region === 'ap');
    assert.match(refused?.reason ?? '', /qty/);
    const { problems } = await agentStatus(ap);
    assert.ok(problems.some(({ code, table }) => code === 'SYN-A100' && table === 'public.odd'));
    await ap.sql('alter table odd alter column qty type int');
    await untilMerge(cluster.regions, version.version_id, 'active');
    await waitFor(async () => (await agentStatus(ap)).problems.length === 0, { what: 'the problem goes' });
  });

  test('survives kills of all agents at any moment', async () => {
    const version = await registerMerge(us, { table: 'killed', columns: { qty: 'counter' } });
    for (const region of cluster.regions) {
      await region.killAgent();
      region.startAgent();
    }
    await untilMergeEventually(version.version_id);
    await write('killed', 1);
    for (const events of Object.values(await named('killed'))) {
      assert.deepEqual(
        events.map(({ merge }) => merge),
        [version.version_id],
      );
    }
  });
});

async function untilMergeEventually(id: string): Promise<void> {
  for (const region of cluster.regions) await region.agentReady();
  await untilMerge(cluster.regions, id, 'active');
}

describe('a region that is upgraded', () => {
  test('publishes the registry from its slot as it is, and gets what it had passed over', async () => {
    const before = await registerMerge(eu, { table: 'late', columns: { qty: 'counter' } });
    await untilMerge(cluster.regions, before.version_id, 'active');
    // As an agent of an older version leaves it: no tables, none published, and what came of them passed over.
    for (const region of cluster.regions) await region.stopAgent();
    await us.sql(`
      drop table syncline.merge_version, syncline.merge_ack, syncline.merge_intent, syncline.merge_activation;
      drop table syncline.history, syncline.merge_state;
      drop table syncline.merge_shadow_case, syncline.merge_shadow, syncline.merge_shadow_sample;
      drop function syncline.is_valid_row;
      drop table syncline.transfer, syncline.transfer_hold;
      drop function syncline.transfer_refusal;
      drop table syncline.author;
      drop function syncline.sign;
      drop index syncline.parked_hlc_idx, syncline.look_again_hlc_idx, syncline.quarantine_hlc_idx;
      alter table syncline.conflict_log drop column merge_version, drop column redacted;
      delete from syncline.meta where key = 'merge_greeted';
      update syncline.meta set value = '5' where key = 'schema_version'`);
    for (const region of [eu, ap]) {
      await region.sql(`update syncline.meta set value = '[]' where key = 'merge_greeted'`);
      await region.sql(`delete from syncline.merge_ack where region = 'us';
        delete from syncline.merge_version where region = 'us'; delete from syncline.merge_activation where region = 'us'`);
    }
    await cluster.startAgents();
    await untilMerge(cluster.regions, before.version_id, 'active');
    const published = `select tablename from pg_publication_tables where schemaname = 'syncline' order by 1`;
    assert.deepEqual((await us.sql(published)).flat(), [
      'merge_ack',
      'merge_activation',
      'merge_intent',
      'merge_version',
      'transfer',
    ]);
    const version = await registerMerge(us, { table: 'again', columns: { qty: 'counter' } });
    await untilMerge(cluster.regions, version.version_id, 'active');
    await write('again', 1);
    for (const [region, events] of Object.entries(await named('again'))) {
      assert.deepEqual(
        events.map(({ merge }) => merge),
        [version.version_id],
        region,
      );
    }
  });
});
