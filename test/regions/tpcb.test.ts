/**
 * TPC-B in three regions at once: four clients each, all of them on the same branch and the same ten tellers.
 *
 * Balances do not add up afterwards, and must not be expected to: of two concurrent updates of one row the later wins.
 * What must hold is that every region has the same rows, that nobody's history is lost, and that no client ever noticed
 * that its rows are written from elsewhere as well.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster } from '../support/cluster.ts';
import { runTpcb, TPCB_SCHEMA, TPCB_TABLES, type TpcbFigures } from '../support/tpcb.ts';

const SECONDS = Number(process.env.SYNCLINE_LOAD_SECONDS ?? 8);
const CLIENTS = 4;
const SETTLE_LIMIT_MS = 60_000 + SECONDS * 2_000;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: TPCB_SCHEMA });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

test('four clients of TPC-B in each of three regions leave equal regions and met no deadlock', async (t) => {
  const pids = cluster.regions.map((region) => region.agent?.pid);
  const figures = await Promise.all(
    cluster.regions.map(
      async (region, place) => await runTpcb(region, { clients: CLIENTS, seconds: SECONDS, seed: 100 * (place + 1) }),
    ),
  );
  const endedMs = performance.now();
  await cluster.settle(SETTLE_LIMIT_MS);
  t.diagnostic(`settled ${Math.round(performance.now() - endedMs)} ms after ${SECONDS} s of load`);
  for (const { region, tps, transactions } of figures) t.diagnostic(`${region}: ${transactions} committed, ${tps}/s`);

  for (const table of TPCB_TABLES) await cluster.equal(`select * from ${table} order by 1, 2`);
  await everyHistoryIsThere(figures);
  for (const { region, failures } of figures) assert.deepEqual(failures, {}, `clients of ${region} saw errors`);

  let conflicts = 0;
  let pushed = 0;
  for (const [place, region] of cluster.regions.entries()) {
    const status = await agentStatus(region);
    assert.equal(status.apply.restarts, 0, `${region.name} applied without a restart`);
    assert.equal(status.capture.state, 'streaming');
    pushed += status.capture.pushed;
    assert.deepEqual(status.problems, []);
    assert.equal(region.agent?.pid, pids[place]);
    assert.equal(region.agent?.exitCode, null);
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
    for (const link of status.links) {
      assert.equal(link.status, 'active');
      conflicts += link.conflicts;
    }
  }
  assert.ok(conflicts > 0, 'regions that write the same branch have conflicts, and they are counted');
  t.diagnostic(`${pushed} stamps were pushed`);
  // All servers go by one clock. A backend that loses its processor between reading the clock and writing its commit
  // record can still be overtaken by a batch; nothing else pushes a stamp here.
  const transactions = figures.reduce((sum, figure) => sum + figure.transactions, 0);
  assert.ok(pushed <= transactions / 1_000, `${pushed} of ${transactions} stamps were pushed`);
  t.diagnostic(`${conflicts} conflicts counted over all links`);
});

/** History is only ever inserted, so every committed transaction of every region has its row everywhere. */
async function everyHistoryIsThere(figures: readonly TpcbFigures[]): Promise<void> {
  const rows = await cluster.equal('select region, count(*) from pgbench_history group by region order by region');
  const wanted = figures.map(({ region, transactions }) => [region, String(transactions)]);
  assert.deepEqual(
    rows,
    wanted.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
}
