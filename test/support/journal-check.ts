/**
 * What became of every write of a journal, told from the settled regions alone.
 *
 * A write of a contended row is accounted for where one of these holds:
 *   standing    the row has its token;
 *   overwritten some transaction of the ledger found its token in place, and so had seen it;
 *   logged      a conflict log tells that it lost to a write that was made at the same time elsewhere.
 * Everything else is a lost write that nobody heard of.
 */
import assert from 'node:assert/strict';
import { agentStatus } from './agent-client.ts';
import type { Cluster, ClusterRegion } from './cluster.ts';
import type { Journal } from './journal.ts';

export type Fates = {
  readonly standing: number;
  readonly overwritten: number;
  readonly logged: number;
  /** `token row` of the writes that vanished. */
  readonly lost: readonly string[];
  /** Logged by some regions, and not by these: `region: token row`. */
  readonly unlogged: readonly string[];
};

/** Settles the regions, compares them, and proves that each write is accounted for; tells what became of how many. */
export async function accountForAll(
  cluster: Cluster,
  journal: Journal,
  limitMs?: number,
): Promise<Pick<Fates, 'standing' | 'overwritten' | 'logged'>> {
  await cluster.settleConflicts(limitMs);
  await cluster.equal('select * from contended order by id');
  await cluster.equal('select * from ledger order by token, row_id');
  await checkLedger(cluster, journal);
  const { lost, unlogged, ...fates } = await fatesOf(cluster);
  assert.deepEqual(lost, [], 'every write is accounted for');
  assert.deepEqual(unlogged, [], 'every region tells of every loss');
  for (const region of cluster.regions) assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
  return fates;
}

/** Nobody updates the ledger, so an update of it would be an insert that was applied a second time. */
export async function nothingTwice(region: ClusterRegion): Promise<void> {
  assert.equal(await region.one("select n_tup_upd from pg_stat_user_tables where relname = 'ledger'"), '0');
  assert.equal((await agentStatus(region)).ready, true);
}

/** Compares the regions, and the ledger with the journal; throws where they contradict each other. */
export async function checkLedger(cluster: Cluster, journal: Journal): Promise<void> {
  const rows = await cluster.equal('select token, region, count(*) from ledger group by 1, 2 order by 1');
  const found = new Set(rows.map(([token]) => token ?? ''));
  const problems: string[] = [];
  for (const { token, outcome } of journal.attempts.values()) {
    if (outcome === 'acknowledged' && !found.has(token)) problems.push(`${token} was acknowledged and is gone`);
    if (outcome === 'open' && found.has(token)) problems.push(`${token} was never committed and is there`);
  }
  for (const [token = '', region] of rows) {
    const attempt = journal.attempts.get(token ?? '');
    if (attempt?.region !== region) problems.push(`${token} is not of ${region}`);
  }
  if (problems.length > 0) throw new Error(`${problems.length} problems:\n${problems.slice(0, 20).join('\n')}`);
}

/** What became of each write that took place. */
export async function fatesOf(cluster: Cluster): Promise<Fates> {
  const standing = new Set(
    (await cluster.equal('select id, token from contended order by id')).map(([id, token]) => `${token} ${id}`),
  );
  const ledger = await cluster.equal('select token, row_id, prior from ledger order by 1, 2');
  const overwritten = new Set(ledger.map(([, row, prior]) => `${prior} ${row}`));
  const logs = new Map<string, ReadonlySet<string>>();
  for (const region of cluster.regions) {
    const losers = await region.sql(`
      select case when winner_event_id = event_id_a then image_b else image_a end ->> 'token', row_pk ->> 'id'
        from syncline.conflict_log where table_name = 'contended'`);
    logs.set(region.name, new Set(losers.map(([token, row]) => `${token} ${row}`)));
  }
  const fates = { standing: 0, overwritten: 0, logged: 0, lost: [] as string[], unlogged: [] as string[] };
  for (const [token, row] of ledger) {
    const write = `${token} ${row}`;
    const telling = [...logs].filter(([, log]) => log.has(write));
    if (standing.has(write)) fates.standing += 1;
    else if (overwritten.has(write)) fates.overwritten += 1;
    else if (telling.length > 0) fates.logged += 1;
    else fates.lost.push(write);
    if (standing.has(write) || overwritten.has(write) || telling.length === 0) continue;
    for (const [region, log] of logs) if (!log.has(write)) fates.unlogged.push(`${region}: ${write}`);
  }
  return fates;
}
