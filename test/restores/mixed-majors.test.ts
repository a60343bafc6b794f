/**
 * Regions on PostgreSQL 14, 16 and 18 together, whose agents connect as roles that are no superusers and have what
 * `syncline doctor` prints, which differs with the version.
 *
 * All write the same rows, one of them is away with its server meanwhile, and in the end all have the same rows and the
 * same conflicts. Triggers and foreign keys tell that applied rows fire neither, and a loser that is written again does.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemRandom } from '../../src/platform/random.ts';
import { agentStatus, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';
import { OLDEST } from '../support/postgres-majors.ts';
import { waitFor } from '../support/wait-for.ts';

const ROWS = 60;
const ROUNDS = 40;
const VERSIONS = { eu: OLDEST, us: 16, ap: 18 } as const;
const LOG = `select conflict_id, event_id_a, winner_event_id, resolution_strategy, image_a, image_b, result_image, provisional
  from syncline.conflict_log order by conflict_id`;

/** What triggers see is kept in a schema that is not replicated, so that a crash takes it with its write. */
const SCHEMA = `
create table shop (id int primary key);
create table claim (id int primary key, name text not null unique);
create table item (
  id int primary key, shop int references shop, v text, n numeric, f float8, tags text[], j jsonb, at timestamptz, r int4multirange,
  twice numeric generated always as (n * 2) stored
);
create table wiped (id int primary key);
create schema aside;
create table aside.touched ();
create function touch() returns trigger language plpgsql security definer as
  'begin insert into aside.touched default values; return null; end';
create trigger touch after insert or update or delete on item for each row execute function touch();
`;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: SCHEMA, versions: VERSIONS, role: 'plain' });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

const touches = async (region: ClusterRegion): Promise<number> =>
  Number(await region.one('select count(*) from aside.touched'));

/** Returns how many rows it changed in the table with the trigger. */
async function write(region: ClusterRegion): Promise<number> {
  const from = systemRandom.below(ROWS);
  const someRows = `id between ${from} and ${from + 5}`;
  const before = await touches(region);
  const place = Object.keys(VERSIONS).indexOf(region.name);
  const statements = [
    `insert into item (id, shop, v, n, f, tags, j, at, r) select i, ${place}, '${region.name}', i / 3.0, 0.1::float8 + i, array['a', null, '"'],
       '{"k": 1.10}', '2024-02-29 12:34:56.789012+02', '{[1,3),[5,9)}' from generate_series(${from}, ${from + 5}) i
       on conflict (id) do update set v = excluded.v, n = item.n + 1`,
    `update item set v = v || '.', tags = array_append(tags, '${region.name}'), at = clock_timestamp() where ${someRows}`,
    `delete from item where ${someRows} and id % 2 = ${place % 2}`,
    `insert into claim values (${place * 1_000 + from}, 'name ' || ${from % 20}) on conflict do nothing`,
    `delete from claim where id = ${place * 1_000 + from}`,
  ];
  await region.sql(systemRandom.pick(statements));
  return (await touches(region)) - before;
}

test('PostgreSQL 14, 16 and 18 end equal, with agents that are no superusers, and one region that was away', async () => {
  const [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
  for (const one of cluster.regions) {
    assert.match((await one.one('show server_version')) ?? '', new RegExp(`^${one.server.version}\\.`));
    const roles = `select distinct r.rolsuper from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
      where a.application_name like 'syncline%'`;
    assert.deepEqual(await one.sql(roles), [['f']], `the agent of ${one.name} is no superuser`);
  }
  await eu.sql('insert into shop values (0), (1), (2)');
  await cluster.settle();

  const changed: Record<string, number> = { eu: 0, us: 0, ap: 0 };
  const rounds = async (regions: readonly ClusterRegion[]): Promise<void> => {
    await Promise.all(
      regions.map(async (region) => {
        for (let round = 0; round < ROUNDS; round += 1)
          changed[region.name] = (changed[region.name] ?? 0) + (await write(region));
      }),
    );
  };
  await rounds(cluster.regions);
  // The oldest is away, database and agent, after writing what nobody has seen.
  await eu.killAgent();
  await rounds([eu]);
  await eu.server.kill9();
  await rounds([us, ap]);
  await us.sql('insert into wiped values (1), (2); truncate wiped; insert into wiped values (3)');
  await eu.server.restart();
  await eu.sql('insert into wiped values (4)');
  eu.startAgent();
  await eu.agentReady();
  await rounds(cluster.regions);

  await cluster.settleConflicts();
  await cluster.equal('select * from item order by id');
  await cluster.equal('select * from claim order by id');
  await cluster.equal('select * from wiped order by id');
  const log = await cluster.equal(LOG);
  assert.ok(log.length > 0, 'there were conflicts');
  for (const region of cluster.regions) {
    const { problems, apply } = await agentStatus(region);
    assert.deepEqual([problems, region === eu ? 0 : apply.restarts], [[], 0]);
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
    assert.equal(await touches(region), changed[region.name], `no trigger of ${region.name} saw what was applied`);
  }
});

test('a loser that is written again passes triggers and foreign keys, also where a function makes the lane a replica', async () => {
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  await eu.sql('insert into item (id, shop, v) values (1000, 0, null)');
  await cluster.settle();
  const links = async (status: 'paused' | 'active'): Promise<void> => {
    await setLink('eu', us, status);
    await setLink('us', eu, status);
  };
  await links('paused');
  await eu.sql(`update item set v = 'eu' where id = 1000`);
  await us.sql(`update item set v = 'us' where id = 1000`);
  await links('active');
  await cluster.settleConflicts();
  const lost = `select conflict_id from syncline.conflict_log where row_pk->>'id' = '1000' and table_name = 'item'`;
  const id = await waitFor(async () => await eu.one(lost), { what: 'the conflict to be logged' });
  const before = await touches(eu);
  const { code, stderr } = await run(['conflicts', 'reapply', id, '-c', eu.configPath]);
  assert.equal(code, 0, stderr);
  assert.equal(await touches(eu), before + 1, 'its trigger fires');
  await cluster.settle();
  await cluster.equal('select * from item order by id');
});
