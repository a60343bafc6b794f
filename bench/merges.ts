/**
 * What it costs a region to apply tables that merge: by a counter, and by a function of one's own, beside last writer wins.
 *
 * Three regions with real servers and real agents. Two of them write the same to a table of each kind, in transactions of one
 * row, and hear nothing of each other; the third hears of neither meanwhile. Measured is the third one: from letting it
 * hear of both until the last row of both is there (`applied`), while nothing can be stable, since the two that wrote go on not hearing of each
 * other; and, from letting all hear of all, until every conflict is final and nothing is kept of any row (`settled`). The share
 * that conflicts is that of the rows of the second region which the first has written too.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { setLink } from '../test/support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../test/support/cluster.ts';
import { registerMerge, untilMerge } from '../test/support/merge-client.ts';
import type { Measured } from './measured.ts';

const SHARES = [1, 100];
const SIDES = ['lww', 'counter', 'function'] as const;
const POLL_MS = 2;
const LIMIT_MS = 300_000;

const SOURCE = `export default ({ base, a, b }) =>
  ({ ...b, n: String(Number(a.n) + Number(b.n) - Number(base === null ? 0 : base.n)) })`;

/** Rows from 1 on are written by the first region; of the second's, the share that conflicts is the same, and the others are above. */
const SCHEMA = (rows: number): string => `
  ${SIDES.map(
    (side) => `
      create table accounts_${side} (id int primary key, n bigint not null, note text, filler char(84));
      insert into accounts_${side} select i, 0, 'a note', '' from generate_series(1, ${2 * rows}) i;
      create table done_${side} (round int, region text, primary key (round, region));`,
  ).join('')}
  create procedure work(of_table text, share int, above int) language plpgsql as $$ begin
    for i in 1 .. ${rows} loop
      execute format('update accounts_%s set n = n + 1 where id = $1', of_table)
        using case when i % 100 < share then i else i + above end;
      commit;
    end loop; end $$`;

export async function measureMerges(transactions: number, rounds: number): Promise<Measured[]> {
  const rows = Math.floor(transactions / 2);
  await using cluster = await Cluster.start({
    schema: SCHEMA(rows),
    settings: { shared_buffers: '256MB', synchronous_commit: 'off' },
  });
  const [first] = cluster.regions;
  if (first === undefined) throw new Error('a cluster has regions');
  for (const rule of [
    { table: 'accounts_counter', columns: { n: 'counter' } },
    { table: 'accounts_function', source: SOURCE },
  ] as const) {
    const { version_id } = await registerMerge(first, rule);
    await untilMerge(cluster.regions, version_id, 'active');
  }
  const runs: Measured[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const share of SHARES) {
      for (const side of SIDES) {
        const { appliedMs, settledMs } = await measure(cluster, side, share, rows, 2 * round + SHARES.indexOf(share));
        if (round === 0) continue;
        const add = (what: string, tookMs: number): void => {
          const metric = `${what}_transactions_per_s_at_${share}_percent`;
          runs.push({ side, metric, value: (2 * rows) / (tookMs / 1000) });
        };
        add('applied', appliedMs);
        add('settled', settledMs);
      }
    }
  }
  return runs;
}

async function measure(
  cluster: Cluster,
  side: string,
  share: number,
  rows: number,
  turn: number,
): Promise<{ appliedMs: number; settledMs: number }> {
  const [first, second, target] = cluster.regions;
  if (first === undefined || second === undefined || target === undefined) throw new Error('three regions');
  const setLinks = async (targets: readonly ClusterRegion[], status: 'paused' | 'active'): Promise<void> => {
    for (const to of targets) for (const from of cluster.regions) if (from !== to) await setLink(from.name, to, status);
  };
  await setLinks(cluster.regions, 'paused');
  await Promise.all(
    [first, second].map(async (region, place) => {
      await region.sql(`call work('${side}', ${place === 0 ? 100 : share}, ${rows})`);
      await region.sql(`insert into done_${side} values (${turn}, '${region.name}')`);
      await captured(region);
    }),
  );
  await target.sql('checkpoint');
  const startedMs = performance.now();
  await setLinks([target], 'active');
  await until(target, `select count(*) = 2 from done_${side} where round = ${turn}`);
  const appliedMs = performance.now() - startedMs;
  await setLinks([first, second], 'active');
  await cluster.settleConflicts(LIMIT_MS);
  for (const region of cluster.regions) await until(region, 'select not exists (select from syncline.merge_state)');
  return { appliedMs, settledMs: performance.now() - startedMs };
}

/** All that the region has committed is in its stream. */
async function captured(region: ClusterRegion): Promise<void> {
  const end = await region.one('select pg_current_wal_insert_lsn()');
  await until(region, `select bool_and(confirmed_flush_lsn >= '${end}') from pg_replication_slots`);
}

async function until(region: ClusterRegion, query: string): Promise<void> {
  for (const endMs = performance.now() + LIMIT_MS; (await region.one(query)) !== 't'; ) {
    if (performance.now() > endMs) throw new Error(`${region.name}: ${query}; its agent printed:\n${region.output}`);
    await delay(POLL_MS);
  }
}
