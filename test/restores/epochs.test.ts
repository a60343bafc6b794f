/**
 * Regions whose database comes back as an older copy of itself: a restored disk, with and without its slot, and a promoted
 * standby that lacks the last transactions. What was published before comes back from the log, nothing forks.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/platform/config.ts';
import type { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';
import { RegionLogs } from '../../src/region-logs.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { comesBack, copyOf } from '../support/older-copy.ts';
import { standbyFrom, takesPlace } from '../support/standby.ts';
import { waitFor } from '../support/wait-for.ts';

const SCHEMA = 'create table public.t (id int primary key, v text not null, n int not null default 0)';
const ROWS = 'select id, v, n from t order by id';

describe('a region that comes back as an older copy', () => {
  for (const slot of ['keeps', 'loses'] as const) {
    test(`gets back what it had published, where the copy ${slot} the slot`, async () => {
      await using cluster = await Cluster.start({ schema: SCHEMA });
      const [eu, us] = [cluster.region('eu'), cluster.region('us')];
      await eu.sql(`insert into t select id, 'before' from generate_series(1, 20) as id`);
      await us.sql(`insert into t select id, 'of us' from generate_series(101, 110) as id`);
      await cluster.settle();
      const copy = await copyOf(eu);

      // What the copy lacks: changes of its own that others have seen and built upon, and changes of others.
      await eu.sql(`insert into t select id, 'after' from generate_series(21, 30) as id`);
      await eu.sql(`update t set v = 'changed after' where id <= 5`);
      await eu.sql('delete from t where id between 6 and 8');
      await us.sql(`update t set n = n + 1 where id > 100`);
      await cluster.settle();
      await us.sql(`update t set v = 'seen by us' where id in (1, 21)`);
      await cluster.settle();
      const had = await cluster.equal(ROWS);

      await comesBack(eu, copy);
      if (slot === 'loses') await eu.sql('select pg_drop_replication_slot(slot_name) from pg_replication_slots');
      else {
        // Users are quicker than the agent: their writes have seen nothing of what is lost.
        await eu.sql(`update t set v = 'meanwhile' where id in (2, 7)`);
        await eu.sql('delete from t where id = 3');
      }
      eu.startAgent();
      await eu.agentReady();
      await eu.sql(`insert into t values (31, 'new', 0)`);
      await us.sql(`insert into t values (131, 'new', 0)`);
      await cluster.settle();

      const rows = await cluster.equal(ROWS);
      const expected = new Map(had.map((row) => [row[0], row]));
      for (const id of ['31', '131']) expected.set(id, [id, 'new', '0']);
      if (slot === 'keeps') {
        for (const id of ['2', '7']) expected.set(id, [id, 'meanwhile', '0']);
        expected.delete('3');
        // Neither had seen the other: the loss is told where it was written.
        const losses = await eu.sql(
          `select distinct row_pk->>'id' from syncline.conflict_log where loser_origin = 'eu' and winner_origin = 'eu' order by 1`,
        );
        assert.deepEqual(losses, [['2'], ['3'], ['7']]);
      }
      const byId = (a: (string | null)[], b: (string | null)[]): number => Number(a[0]) - Number(b[0]);
      assert.deepEqual(rows, [...expected.values()].sort(byId));
      assert.deepEqual(await eu.sql('select event from syncline.quarantine'), []);
      assert.match(eu.output, /the database is an older copy/);
    });
  }

  test('goes on from a promoted standby that lacks the last transactions', async () => {
    await using cluster = await Cluster.start({ schema: SCHEMA });
    const [eu, us] = [cluster.region('eu'), cluster.region('us')];
    await eu.sql(`insert into t select id, 'before' from generate_series(1, 10) as id`);
    await cluster.settle();
    await using standby = await standbyFrom(eu, await copyOf(eu));
    await eu.sql(`insert into t values (11, 'had by the standby', 0)`);
    await caughtUp(eu, standby);
    await standby.stop();
    await eu.sql(`insert into t select id, 'lost' from generate_series(12, 20) as id`);
    await eu.sql(`update t set v = 'lost' where id = 1`);
    await cluster.settle();
    const had = await cluster.equal(ROWS);

    await eu.killAgent();
    await eu.server.stop('immediate');
    await standby.restart();
    await takesPlace(eu, standby);

    eu.startAgent();
    await eu.agentReady();
    await eu.sql(`insert into t values (31, 'new', 0)`);
    await us.sql(`update t set v = 'changed' where id = 12`);
    await cluster.settle();
    const rows = await cluster.equal(ROWS);
    assert.equal(await eu.one('select timeline_id from pg_control_checkpoint()'), '2');
    const expected = had.map((row) => (row[0] === '12' ? ['12', 'changed', '0'] : row));
    assert.deepEqual(rows, [...expected, ['31', 'new', '0']]);
  });

  test('can come back again and again, to any copy', async () => {
    await using cluster = await Cluster.start({ schema: SCHEMA });
    const eu = cluster.region('eu');
    const copies: string[] = [];
    for (let round = 1; round <= 3; round += 1) {
      await eu.sql(`insert into t values (${round}, 'round', ${round})`);
      await cluster.settle();
      copies.push(await copyOf(eu));
    }
    for (const [place, copy] of [copies[0], copies[2], copies[1]].entries()) {
      await eu.sql(`insert into t values (${10 + place}, 'then', 0)`);
      await cluster.settle();
      await comesBack(eu, copy ?? '');
      eu.startAgent();
      await eu.agentReady();
      await eu.sql(`update t set n = n + 10 where id = ${1 + place}`);
      await cluster.settle();
    }
    const ids = (await cluster.equal(ROWS)).map(([id]) => id);
    assert.deepEqual(ids, ['1', '2', '3', '10', '11', '12']);
  });

  test('is refused with a code where the database was rebuilt, or the log no longer holds what it lacks', async () => {
    await using cluster = await Cluster.start({ schema: SCHEMA, regions: ['eu', 'us'] });
    const eu = cluster.region('eu');
    await eu.sql(`insert into t values (1, 'before', 0)`);
    await cluster.settle();
    const copy = await copyOf(eu);
    await eu.sql(`insert into t values (2, 'after', 0)`);
    await cluster.settle();

    await comesBack(eu, copy);
    await eu.sql('drop schema syncline cascade');
    eu.startAgent();
    await waitFor(() => eu.output.includes('SYN-K009'), { what: 'the region without a memory is refused' });

    await comesBack(eu, copy);
    {
      await using logs = await RegionLogs.open(await loadConfig(eu.configPath), () => undefined);
      await using reader = await logs.of('eu').reader('eu');
      await using writer = await logs.of('eu').writer('eu');
      await writer.trim((await reader.bounds())?.last ?? 0);
    }
    eu.startAgent();
    await waitFor(() => eu.output.includes('SYN-L004'), { what: 'what is lost for good is told' });
    await waitFor(() => eu.agent?.exitCode != null, { what: 'the agent ends' });
  });
});

async function caughtUp(region: ClusterRegion, standby: EmbeddedPostgres): Promise<void> {
  const end = await region.one('select pg_current_wal_insert_lsn()');
  const client = await region.session(standby.url(region.database));
  await waitFor(
    async () => {
      const { rows } = await client.query('select pg_last_wal_replay_lsn() >= $1::pg_lsn as there', [end]);
      return rows[0]?.there === 't';
    },
    { what: 'the standby to replay everything' },
  );
  await client.end();
}
