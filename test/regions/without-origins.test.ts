/**
 * Regions whose agents may use no replication origins beside one that does: roles that are no superusers, and have what `syncline doctor`
 * prints for their configuration and nothing else.
 *
 * All write the same rows all the time, rows that claim one value among them. Meanwhile one region is killed with its server, one comes to use
 * origins and one gives them up. In the end rows and conflicts are the same everywhere, and the signatures are gone.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { APPLIED_PREFIX } from '../../src/capture/stream/applied-work.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { runDoctorsStatements } from '../support/agent-role.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { OLDEST } from '../support/postgres-majors.ts';
import { waitFor } from '../support/wait-for.ts';

const ROWS = 40;
const ROUNDS = 60;
const SCHEMA = 'create table item (id int primary key, v text, u int unique); create table told (id int primary key)';
const MAY_NOT = `select bool_and(not has_function_privilege('plain agent', p.oid, 'EXECUTE')) from pg_proc p
  where proname in ('pg_replication_origin_session_setup', 'pg_replication_origin_xact_setup')`;

let cluster: Cluster;
before(async () => {
  const versions = { us: OLDEST, ap: 16 } as const;
  cluster = await Cluster.start({ schema: SCHEMA, versions, role: 'plain', withoutOrigins: ['us', 'ap'] });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

async function write(region: ClusterRegion): Promise<void> {
  const [id, other] = [systemRandom.below(ROWS), systemRandom.below(ROWS)];
  const statement = systemRandom.pick([
    `insert into item values (${id}, '${region.name}', ${other}) on conflict do nothing`,
    `update item set v = v || '${region.name[0]}' where id between ${id} and ${id + 3}`,
    `update item set u = null where id = ${id}`,
    `update item set id = id + ${ROWS} where id = ${id} and not exists (select from item where id = ${id + ROWS})`,
    `delete from item where id in (${id}, ${other})`,
  ]);
  try {
    await region.sql(statement);
  } catch (error) {
    // The lane, or another region's row, may have the key or the value by now.
    if (sqlStateOf(error) !== '23505') throw error;
  }
}

async function rounds(regions: readonly ClusterRegion[]): Promise<void> {
  await Promise.all(
    regions.map(async (region) => {
      for (let round = 0; round < ROUNDS; round += 1) await write(region);
    }),
  );
}

async function useOrigins(region: ClusterRegion, uses: boolean): Promise<void> {
  assert.equal(await region.stopAgent(), 0);
  const config = await readFile(region.configPath, 'utf8');
  const others = config.replace(/^apply: .*\n/m, '');
  await writeFile(region.configPath, uses ? others : `${others}apply: { replication_origins: false }\n`);
  await runDoctorsStatements(region.url, region.configPath);
  region.startAgent();
  await region.agentReady();
}

test('regions with and without replication origins, and one that changes from the one to the other, end equal', async () => {
  const [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
  assert.deepEqual([await us.one(MAY_NOT), await ap.one(MAY_NOT)], ['t', 't']);
  await rounds(cluster.regions);
  await us.killAgent();
  await us.server.kill9();
  await rounds([eu, ap]);
  await us.server.restart();
  us.startAgent();
  await us.agentReady();
  await Promise.all([rounds(cluster.regions.slice(0, 2)), useOrigins(ap, true)]);
  await Promise.all([rounds([us, ap]), useOrigins(eu, false)]);
  await rounds(cluster.regions);

  await cluster.settleConflicts();
  await cluster.equal('select * from item order by id');
  const log = await cluster.equal(
    'select conflict_id, event_id_a, winner_event_id, image_a, image_b, result_image, provisional from syncline.conflict_log order by 1',
  );
  assert.ok(log.length > 0, 'there were conflicts');
  assert.equal(await us.one('select count(*) from pg_replication_origin'), '0');
  // A row that is parked keeps the signatures between whose two times it lies.
  const parked = 'select count(*) from syncline.parked';
  await waitFor(
    async () => {
      await eu.sql('update item set u = null where u is not null');
      await cluster.settle();
      return (await Promise.all(cluster.regions.map((region) => region.one(parked)))).every((count) => count === '0');
    },
    { what: 'all parked rows to come back' },
  );
  for (const region of cluster.regions) {
    // Where the lane signs, heartbeats of the others leave new ones.
    const since = region === ap ? '' : ` where stamp < clock_timestamp() - interval '10 seconds'`;
    const signed = async (): Promise<string | null> => await region.one(`select count(*) from syncline.author${since}`);
    await waitFor(async () => (await signed()) === '0', { what: `the signatures of ${region.name} to be forgotten` });
  }
});

test('a user who says to be the lane, and does not know its secret, is replicated', async () => {
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  const session = await us.session();
  await session.query('begin');
  await session.query(`select pg_logical_emit_message(true, '${APPLIED_PREFIX}', 'guess')`);
  await session.query('insert into told values (1)');
  await session.query('commit');
  await session.end();
  await cluster.settle();
  assert.deepEqual(await eu.sql('select id from told'), [['1']]);
});
