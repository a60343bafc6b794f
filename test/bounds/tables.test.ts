/** Many tables, and wide ones: agents keep what they know of each, and stay small. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agentStatus } from '../support/agent-client.ts';
import { peaksOf } from '../support/agent-memory.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';

const TABLES = Number(process.env.SYNCLINE_TABLES ?? 1_000);
const COLUMNS = Number(process.env.SYNCLINE_COLUMNS ?? 200);
const WIDE_ROWS = Number(process.env.SYNCLINE_WIDE_ROWS ?? 5_000);
const TABLES_OF_TRANSACTION = 50;
const PEAK_MAX_MB = 300;
/** Batches and what is kept for conflicts are bounded by rows: such rows have some ten kilobytes each, before and after. */
const WIDE_PEAK_MAX_MB = 700;
const SETTLE_LIMIT_MS = 600_000;

const EACH_TABLE = `select table_name, (xpath('//c/text()', query_to_xml(
    format('select md5(string_agg(t::text, '','' order by id)) as c from %I t', table_name), false, true, '')))[1]::text
  from information_schema.tables where table_schema = 'public' order by 1`;

test(`${TABLES} tables that are written in two regions`, async (t) => {
  const startedMs = performance.now();
  await using cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: `do $$ begin for n in 1 .. ${TABLES} loop
      execute format('create table t_%s (id int primary key, region text, note text)', n); end loop; end $$`,
    agents: false,
  });
  for (const region of cluster.regions) region.startAgent();
  for (const region of cluster.regions) await region.agentReady(SETTLE_LIMIT_MS);
  const readyMs = performance.now() - startedMs;
  const idle = await peaksOf(cluster.regions);
  // Rows of each region's own, and one that both write.
  await Promise.all(
    cluster.regions.map(async (region, place) => {
      for (let first = 1; first <= TABLES; first += TABLES_OF_TRANSACTION) {
        await region.sql(`do $$ begin
          for n in ${first} .. least(${first + TABLES_OF_TRANSACTION - 1}, ${TABLES}) loop
            execute format('insert into t_%s select i, %L, repeat(''x'', 100) from generate_series(%s, %s) i
              on conflict (id) do update set region = excluded.region', n, '${region.name}', ${place * 10}, ${place * 10 + 9});
            execute format('insert into t_%s values (100, %L, ''both'') on conflict (id) do update set region = excluded.region',
              n, '${region.name}');
          end loop; end $$`);
      }
    }),
  );
  await cluster.settle(SETTLE_LIMIT_MS);
  assert.equal((await cluster.equal(EACH_TABLE)).length, TABLES);
  await areWell(cluster.regions);
  const peaks = await peaksOf(cluster.regions);
  t.diagnostic(`ready after ${Math.round(readyMs / 1_000)} s; MB at most: ${JSON.stringify({ idle, written: peaks })}`);
  for (const peak of Object.values(peaks)) assert.ok(peak <= PEAK_MAX_MB, `${peak} MB`);
});

test(`a table of ${COLUMNS} columns, ${WIDE_ROWS} rows of it`, async (t) => {
  const columns = Array.from({ length: COLUMNS - 1 }, (_, n) => `c${n} ${n % 2 === 0 ? 'text' : 'numeric'}`);
  await using cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: `create table wide (id int primary key, ${columns.join(', ')})`,
  });
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  const values = Array.from({ length: COLUMNS - 1 }, (_, n) => (n % 2 === 0 ? `'text ' || i` : 'i / 7.0'));
  await eu.sql(`insert into wide select i, ${values.join(', ')} from generate_series(1, ${WIDE_ROWS}) i`);
  await cluster.settle(SETTLE_LIMIT_MS);
  await Promise.all([
    eu.sql(`update wide set c0 = 'eu' where id % 3 < 2`),
    us.sql(`update wide set c${COLUMNS - 2} = ${COLUMNS % 2 === 0 ? "'us'" : '1'} where id % 3 > 0`),
  ]);
  await cluster.settle(SETTLE_LIMIT_MS);
  const [[rows] = []] = await cluster.equal('select count(*), md5(string_agg(w::text, $$,$$ order by id)) from wide w');
  assert.equal(rows, String(WIDE_ROWS));
  await areWell(cluster.regions);
  const peaks = await peaksOf(cluster.regions);
  t.diagnostic(`MB at most: ${JSON.stringify(peaks)}`);
  for (const peak of Object.values(peaks)) assert.ok(peak <= WIDE_PEAK_MAX_MB, `${peak} MB`);
});

async function areWell(regions: readonly ClusterRegion[]): Promise<void> {
  for (const region of regions) {
    const { ready, links } = await agentStatus(region);
    assert.equal(ready, true);
    assert.deepEqual(
      links.map(({ status }) => status),
      ['active'],
    );
  }
}
