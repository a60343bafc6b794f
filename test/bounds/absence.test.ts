/**
 * What the schema `syncline` keeps while a region is away, and that it is small again afterwards: nothing can be forgotten that
 * the region may still write against, so it grows with the traffic, and with nothing else.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peaksOf } from '../support/agent-memory.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const TRANSACTIONS = Number(process.env.SYNCLINE_ABSENCE_TRANSACTIONS ?? 20_000);
/** With so many rows, most of those that are removed are not made again soon. */
const ROWS = Math.max(5_000, TRANSACTIONS / 10);
const WARM_UP = 1_000;
/** Also for whoever asks for many: more than a thousand a second are told and settled on the slowest of machines. */
const LIMIT_MS = 300_000 + TRANSACTIONS;
/** What is in flight at any time, and the marks of three regions. */
const KEPT_ROWS_MAX = 500;
/** PostgreSQL keeps the pages of a table for what comes next; vacuum gives back those at its end. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

/** Tables that tell of the past for as long as operators want stay as they are. */
const TABLES = `select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'syncline' and c.relkind = 'r' and c.relname not in ('conflict_log')`;
const ROWS_KEPT = `select coalesce(sum((xpath('//c/text()', query_to_xml(
    format('select count(*) as c from syncline.%I', relname), false, true, '')))[1]::text::bigint), 0) from (${TABLES}) t`;
const BYTES_KEPT = `select coalesce(sum(pg_total_relation_size(oid)), 0) from (${TABLES}) t`;

type Size = { readonly rows: number; readonly bytes: number };

test(`${TRANSACTIONS} transactions in two regions while a third one is away leave nothing behind once it is back`, async (t) => {
  await using cluster = await Cluster.start({
    schema: `create table item (id int primary key, v text); insert into item select i, '' from generate_series(1, ${ROWS}) i;
      create procedure work(count int, name text) language plpgsql as $$ begin
        for i in 1 .. count loop
          if i % 10 = 0 then delete from item where id = 1 + (i * 7) % ${ROWS};
          else insert into item values (1 + (i * 13) % ${ROWS}, name || i) on conflict (id) do update set v = excluded.v; end if;
          commit;
        end loop; end $$`,
    settings: { synchronous_commit: 'off', autovacuum_naptime: '1s' },
  });
  const [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
  const work = async (count: number): Promise<void> => {
    await Promise.all([eu, us].map(async (region) => await region.sql(`call work(${count / 2}, '${region.name}')`)));
  };
  await work(WARM_UP);
  await cluster.settleConflicts(LIMIT_MS);
  const before = await smallAgain(eu);

  await ap.killAgent();
  await work(TRANSACTIONS);
  await applied(eu, us);
  await applied(us, eu);
  const during = await sizeOf(eu);
  const backMs = performance.now();
  ap.startAgent();
  await ap.agentReady();
  await cluster.settleConflicts(LIMIT_MS);
  await cluster.equal('select * from item order by id');
  const after = await smallAgain(eu);
  const seconds = Math.round((performance.now() - backMs) / 1_000);
  const peaks = await peaksOf(cluster.regions);
  t.diagnostic(
    `syncline in eu: ${JSON.stringify({ before, during, after, seconds })}; MB at most: ${JSON.stringify(peaks)}`,
  );
  assert.ok(during.rows > after.rows, 'something was kept meanwhile');
  assert.ok(after.bytes <= KEPT_BYTES_MAX, `${after.bytes} bytes`);
});

async function sizeOf(region: ClusterRegion): Promise<Size> {
  return { rows: Number(await region.one(ROWS_KEPT)), bytes: Number(await region.one(BYTES_KEPT)) };
}

/** Once what is forgotten is so few that only the present traffic is left, and vacuum has been there. */
async function smallAgain(region: ClusterRegion): Promise<Size> {
  await waitFor(async () => (await sizeOf(region)).rows <= KEPT_ROWS_MAX, {
    what: `${region.name} to keep no more than ${KEPT_ROWS_MAX} rows`,
    limitMs: LIMIT_MS,
  });
  await region.sql('vacuum');
  return await sizeOf(region);
}

/** All that one has committed is in the other. */
async function applied(from: ClusterRegion, to: ClusterRegion): Promise<void> {
  await from.sql(`insert into item values (0, '${from.name}') on conflict (id) do update set v = excluded.v`);
  await waitFor(async () => (await to.one('select v from item where id = 0')) === from.name, {
    what: `${to.name} to apply what ${from.name} wrote`,
    limitMs: LIMIT_MS,
  });
}
