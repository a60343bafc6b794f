/** A region that comes back as an older copy of itself, from before a merge rule was active in it, or registered at all. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Cluster } from '../support/cluster.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { comesBack, copyOf } from '../support/older-copy.ts';
import { publishedBy } from '../support/published-events.ts';
import { waitFor } from '../support/wait-for.ts';

describe('a region that comes back as an older copy', () => {
  for (const registeredIn of ['eu', 'us'] as const) {
    test(`names again what it had named, registered in ${registeredIn}`, async () => {
      await using cluster = await Cluster.start({ schema: 'create table t (id int primary key, qty int)' });
      const [eu, us] = [cluster.region('eu'), cluster.region('us')];
      await cluster.settle();
      const copy = await copyOf(eu);
      const origin = cluster.region(registeredIn);
      const { version_id } = await registerMerge(origin, { table: 't', columns: { qty: 'counter' } });
      await untilMerge(cluster.regions, version_id, 'active');
      await eu.sql('insert into t values (1, 0)');
      await cluster.settle();

      await comesBack(eu, copy);
      assert.equal(await eu.one('select count(*) from syncline.merge_activation'), '0');
      eu.startAgent();
      await eu.agentReady();
      await untilMerge(cluster.regions, version_id, 'active');
      let id = 10;
      await waitFor(
        async () => {
          id += 1;
          await eu.sql(`insert into t values (${id}, 0)`);
          await cluster.settle();
          const events = (await publishedBy(eu)).filter(({ table_name }) => table_name === 't');
          return events.at(-1)?.merge === version_id && events.at(-1)?.row_pk.id === String(id);
        },
        { what: 'capture names the version again', limitMs: 30_000 },
      );
      await us.sql('insert into t values (2, 0)');
      await cluster.settle();
      // The region that came back says once more that it can run the version, and a little later that its histories are ready.
      for (const table of ['merge_version', 'merge_ack', 'merge_intent', 'merge_activation']) {
        await waitFor(
          async () => {
            const query = `select * from syncline.${table} order by 1, 2, 3`;
            const told = await Promise.all(
              cluster.regions.map(async (region) => JSON.stringify(await region.sql(query))),
            );
            return told.every((rows) => rows === told[0]);
          },
          { what: `${table} to be the same everywhere`, limitMs: 30_000 },
        );
      }
      await cluster.equal('select * from t order by 1');
    });
  }
});
