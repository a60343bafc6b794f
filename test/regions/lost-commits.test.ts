/** What the lane commits is not flushed at once: a crash of the server takes it back, and the log delivers it again. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../src/platform/config.ts';
import { RegionLogs } from '../../src/region-logs.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const CRASHES_MAX = 10;
const ROWS = 30;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: 'create table item (id int primary key, v int)',
    // The server flushes when users commit, and by itself every ten seconds (zero would be with each commit of the lane).
    settings: { wal_writer_delay: '10s', wal_writer_flush_after: '1GB' },
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

const countAt = async (region: ClusterRegion): Promise<number> => Number(await region.one('select count(*) from item'));

test('a server that crashes loses what the lane had not flushed, and nothing that anybody was told of', async (t) => {
  await using logs = await RegionLogs.open(await loadConfig(us.configPath), () => undefined);
  let lost = 0;
  let crashes = 0;
  for (; lost === 0 && crashes < CRASHES_MAX; crashes += 1) {
    const wanted = (crashes + 1) * ROWS;
    for (let id = crashes * ROWS; id < wanted; id += 1) await us.sql(`insert into item values (${id}, 0)`);
    await waitFor(async () => (await countAt(eu)) === wanted, { what: 'the rows to be applied' });
    await eu.server.kill9();
    await eu.killAgent();
    await eu.server.restart();
    lost = wanted - (await countAt(eu));
    // In the order of the stream, and whole.
    const ids = await eu.sql('select id from item order by id');
    assert.deepEqual(
      ids.map(([id]) => Number(id)),
      [...ids.keys()],
    );
    const next = Number(await eu.one("select log_offset from syncline.applied where origin = 'us'"));
    const acknowledged = (await logs.of('us').acknowledged('us')).get('eu') ?? -1;
    assert.ok(acknowledged < next, `${acknowledged} is acknowledged, and ${next} is next`);
    eu.startAgent();
    await eu.agentReady();
    await us.sql('update item set v = v + 1');
    await cluster.settle();
    const rows = await cluster.equal('select id, v from item order by id');
    assert.equal(rows.length, wanted);
  }
  t.diagnostic(`${lost} of ${ROWS} rows were lost to crash ${crashes}, and came back`);
  assert.ok(lost > 0, 'a crash takes something back');
  // What the crash took back is no conflict, and was written once.
  await cluster.equal('select conflict_id from syncline.conflict_log');
  assert.equal(await eu.one('select count(*) from syncline.conflict_log'), '0');
  assert.equal(await eu.one('select count(*) from syncline.quarantine'), '0');
});
