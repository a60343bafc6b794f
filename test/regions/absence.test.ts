/**
 * Regions that do not hear of each other for a while: paused links and agents that are away, in many orders.
 *
 * All regions here run on one machine with one clock, so the newest write by real time is the one that must win
 * everywhere, in whichever order the writes are captured, delivered and applied afterwards.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { lsnFromText, parsePosition, positionLsn } from '../../src/change/position.ts';
import { type Random, seededRandom, systemRandom } from '../../src/platform/random.ts';
import { ackedSince, linkFrom, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { letSlotMove } from '../support/slot-retention.ts';
import { waitFor } from '../support/wait-for.ts';

const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
/** Rounds in which links rest; in a long plan, also every region is away in its turn. */
const ROUNDS = Number(process.env.SYNCLINE_ROUNDS ?? 3);
const WRITES_OF_ROUND = 60;
const ROWS = 12;
const BALLAST_ROWS = 5_000;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({
    schema: 'create table item (id int primary key, v text); create table ballast (id int primary key, v text)',
    // Links are waited for one by one, and an idle stream moves on with its heartbeats.
    config: 'capture: { heartbeat_ms: 100 }',
  });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

type Link = { readonly source: ClusterRegion; readonly target: ClusterRegion };

function allLinks(): Link[] {
  return cluster.regions.flatMap((target) =>
    cluster.regions.filter((source) => source !== target).map((source) => ({ source, target })),
  );
}

async function pause(links: readonly Link[]): Promise<void> {
  for (const { source, target } of links) await setLink(source.name, target, 'paused');
}

/** Resumes a link and waits until all that its source has committed is applied at its target. */
async function resume({ source, target }: Link): Promise<void> {
  await setLink(source.name, target, 'active');
  const end = lsnFromText((await source.one('select pg_current_wal_insert_lsn()')) ?? '0/0');
  await waitFor(async () => (await markOf(source, target)) >= end, { what: `${target.name} to follow ${source.name}` });
}

async function markOf(source: ClusterRegion, target: ClusterRegion): Promise<bigint> {
  const position = await target.one(`select position from syncline.applied where origin = '${source.name}'`);
  return position === null ? 0n : positionLsn(parsePosition(position));
}

afterEach(async () => {
  for (const { source, target } of allLinks()) await setLink(source.name, target, 'active');
});

/** Remembers, by real time, what each row has to be in the end. */
class Newest {
  readonly #rows = new Map<number, string | null>();
  #writes = 0;

  async put(region: ClusterRegion, id: number): Promise<void> {
    this.#writes += 1;
    const value = `${region.name} ${this.#writes}`;
    await region.sql(`insert into item values (${id}, '${value}') on conflict (id) do update set v = excluded.v`);
    this.#rows.set(id, value);
  }

  /** Whether there was a row to delete is up to what the region knows at this moment. */
  async remove(region: ClusterRegion, id: number): Promise<void> {
    if ((await region.sql(`delete from item where id = ${id} returning id`)).length > 0) this.#rows.set(id, null);
  }

  async check(what: string): Promise<void> {
    const rows = await cluster.equal('select id, v from item order by id');
    const wanted = [...this.#rows].filter(([, value]) => value !== null).sort(([a], [b]) => a - b);
    assert.deepEqual(
      rows,
      wanted.map(([id, value]) => [String(id), value]),
      what,
    );
  }
}

function allRegions(): readonly [ClusterRegion, ClusterRegion, ClusterRegion] {
  return [cluster.region('eu'), cluster.region('us'), cluster.region('ap')];
}

async function emptyTables(): Promise<void> {
  await cluster.region('eu').sql('delete from item; delete from ballast');
  await cluster.settle();
}

test('an older update meets a delete and a re-insert, in both orders', async () => {
  const [eu, us, ap] = allRegions();
  for (const first of [us, eu]) {
    await emptyTables();
    const newest = new Newest();
    for (const id of [1, 2, 3]) await newest.put(eu, id);
    await cluster.settle();
    const links = allLinks();
    await pause(links);
    for (const id of [1, 2, 3]) await newest.put(us, id);
    // 1 is deleted and comes back; 2 is deleted for good; 3 is deleted, written elsewhere, and comes back.
    for (const id of [1, 2, 3]) await newest.remove(eu, id);
    await newest.put(eu, 1);
    await newest.put(us, 3);
    await newest.put(eu, 3);
    const early = links.filter(({ source, target }) => target === ap && source === first);
    const late = links.filter((link) => !early.includes(link));
    for (const link of [...early, ...late]) await resume(link);
    await cluster.settle();
    await newest.check(`${first.name} first at ap`);
  }
});

test('a newer update beats an older delete, in both orders', async () => {
  const [eu, us, ap] = allRegions();
  for (const first of [us, eu]) {
    await emptyTables();
    const newest = new Newest();
    await newest.put(eu, 1);
    await cluster.settle();
    const links = allLinks();
    await pause(links);
    await newest.remove(eu, 1);
    await newest.put(us, 1);
    const early = links.filter(({ source, target }) => target === ap && source === first);
    for (const link of [...early, ...links.filter((each) => !early.includes(each))]) await resume(link);
    await cluster.settle();
    await newest.check(`${first.name} first at ap`);
  }
});

test('whichever links rest and in whichever order they go on, the newest write wins everywhere', async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  const random = seededRandom(SEED);
  for (let round = 1; round <= ROUNDS; round += 1) {
    await emptyTables();
    const newest = new Newest();
    const order = random.shuffle(allLinks());
    const resting = order.slice(0, 3 + random.below(4));
    await pause(resting);
    await writeAtRandom(newest, cluster.regions, random);
    for (const link of resting) await resume(link);
    await cluster.settle();
    const names = resting.map(({ source, target }) => `${source.name}:${target.name}`).join(', ');
    await newest.check(`round ${round} of seed ${SEED}: ${names}`);
  }
});

async function writeAtRandom(newest: Newest, regions: readonly ClusterRegion[], random: Random): Promise<void> {
  for (let write = 0; write < WRITES_OF_ROUND; write += 1) {
    const region = random.pick(regions);
    const id = 1 + random.below(ROWS);
    if (random.chance(0.3)) await newest.remove(region, id);
    else await newest.put(region, id);
  }
}

for (const first of ['capture', 'apply'] as const) {
  test(`an agent comes back to old writes of its own and newer ones of others: ${first} first`, async () => {
    const turns = seededRandom(SEED).shuffle(cluster.regions);
    for (const away of ROUNDS < 5 ? turns.slice(0, 1) : turns) {
      await emptyTables();
      const others = cluster.regions.filter((region) => region !== away);
      const newest = new Newest();
      for (let id = 1; id <= 3; id += 1) await newest.put(away, id);
      await cluster.settle();
      const resting = allLinks().filter(({ source, target }) => (first === 'capture' ? target : source) === away);
      await pause(resting);
      await away.stopAgent();
      await writeWhileAway(newest, away, others, first);
      away.startAgent();
      await away.agentReady();
      for (const link of allLinks()) if (!resting.includes(link)) await resume(link);
      for (const link of resting) await resume(link);
      await cluster.settle();
      await newest.check(`${away.name} was away`);
      const [count] = await cluster.equal('select count(*) from ballast');
      assert.equal(count?.[0], first === 'apply' ? String(BALLAST_ROWS) : '0');
    }
  });
}

/** Even rows are written last by the others, odd ones by the region that is away; some are deleted on either side. */
async function writeWhileAway(
  newest: Newest,
  away: ClusterRegion,
  others: readonly ClusterRegion[],
  first: 'capture' | 'apply',
): Promise<void> {
  const [other = away, another = other] = others;
  // Capture has to work its way through this, while newer rows of the others are applied at once.
  if (first === 'apply') {
    await away.sql(`insert into ballast select n, repeat('x', 100) from generate_series(1, ${BALLAST_ROWS}) as n`);
  }
  const oldThenNew = async (id: number, older: ClusterRegion, newer: ClusterRegion): Promise<void> => {
    await newest.put(older, id);
    await newest.put(newer, id);
  };
  await oldThenNew(4, away, other);
  await oldThenNew(5, other, away);
  await newest.put(away, 1);
  await newest.remove(other, 1);
  await newest.remove(away, 2);
  await newest.put(another, 2);
  await newest.put(other, 3);
  await newest.remove(away, 3);
  await newest.put(another, 6);
  await newest.put(away, 6);
  await newest.remove(away, 6);
  await newest.put(away, 7);
  await newest.remove(away, 7);
  await newest.put(other, 7);
}

test('a paused link stays so through a restart, costs its source nothing, and goes on where it was', async () => {
  await emptyTables();
  const [eu, us, ap] = allRegions();
  const sinceMs = Date.now();
  await us.sql("insert into item values (1, 'before')");
  await cluster.settle();
  await setLink('us', eu, 'paused');
  const acked = await ackedSince('us', eu, sinceMs);
  await us.sql("insert into item values (2, 'while paused')");
  const written = (await us.one('select pg_current_wal_insert_lsn()')) ?? '';
  await ap.sql("insert into item values (3, 'the others go on')");

  await waitFor(async () => (await eu.one('select count(*) from item where id = 3')) === '1', { what: 'ap at eu' });
  await waitFor(async () => (await ap.one('select count(*) from item where id = 2')) === '1', { what: 'us at ap' });
  await waitFor(async () => (await linkFrom('us', eu)).lag_ms > 0, { what: 'a lag' });
  await grows(async () => (await linkFrom('us', eu)).lag_ms);
  assert.equal((await linkFrom('ap', eu)).status, 'active');
  await waitFor(async () => await slotIsPast(us, written), { what: 'the slot of us to let go of its WAL' });

  assert.equal(await eu.stopAgent(), 0);
  eu.startAgent();
  await eu.agentReady();
  const link = await linkFrom('us', eu);
  assert.equal(link.status, 'paused');
  assert.equal(link.last_acked_event_id, acked);
  await ap.sql("insert into item values (4, 'also after the restart')");
  await waitFor(async () => (await eu.one('select count(*) from item where id = 4')) === '1', { what: 'ap at eu' });
  await waitFor(async () => (await linkFrom('us', eu)).lag_ms > 0, { what: 'the lag to be known again' });
  assert.equal(await eu.one('select count(*) from item where id = 2'), '0');

  await resume({ source: us, target: eu });
  assert.equal((await linkFrom('us', eu)).status, 'active');
  // The agent tells a moment after the commit that moved the mark.
  await waitFor(async () => (await linkFrom('us', eu)).last_acked_event_id !== acked, { what: 'an acknowledgement' });
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select id from item order by id'), [['1'], ['2'], ['3'], ['4']]);
});

async function grows(measure: () => Promise<number>): Promise<void> {
  const before = await measure();
  await waitFor(async () => (await measure()) > before, { what: `more than ${before}` });
}

async function slotIsPast(region: ClusterRegion, lsn: string): Promise<boolean> {
  await letSlotMove(region);
  const kept = await region.one(
    `select restart_lsn > '${lsn}' and confirmed_flush_lsn > '${lsn}' from pg_replication_slots where slot_name = 'syncline_${region.name}'`,
  );
  return kept === 't';
}
