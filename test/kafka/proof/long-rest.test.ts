/**
 * A link that rests, and a region that is away, for the time of very many events: Kafka keeps them, the source keeps nothing
 * for them, and once they go on they get everything, in order, from where they were.
 *
 * Each transaction inserts the next rows and sets a counter to the last of them. So in whatever moment one looks at a
 * target, its rows are a prefix of what was written, whole transactions, and the counter agrees.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ackedSince, linkFrom, setLink } from '../../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../../support/cluster.ts';
import { kafkaLog } from '../../support/cluster-log.ts';
import { type KafkaCluster, plainKafka } from '../../support/kafka-cluster.ts';
import { megabytes, retainedBytes, walPosition } from '../../support/slot-retention.ts';
import { waitFor } from '../../support/wait-for.ts';

const PAUSED_EVENTS = Number(process.env.SYNCLINE_PAUSED_EVENTS ?? 5_000);
const ABSENT_EVENTS = Number(process.env.SYNCLINE_ABSENT_EVENTS ?? 5_000);
const ROWS_OF_TRANSACTION = 99;
const EVENTS_OF_TRANSACTION = ROWS_OF_TRANSACTION + 1;
/** The slot moves with every heartbeat; what is written within one is little beside this. */
const RETAINED_MAX = 24 * 1024 ** 2;
/** A look at a target counts so many of its newest rows. */
const LOOKED_AT_ROWS = 20 * ROWS_OF_TRANSACTION;
/** How far writers may be ahead of what is published, so that the slot's growth tells of the log alone. */
const AHEAD_EVENTS_MAX = 5_000;

let kafka: KafkaCluster;
let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
/** The last row that was written at eu. */
let last = 0;
before(async () => {
  kafka = await plainKafka();
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: `create table item (id int primary key, note text not null);
      create table counter (id int primary key, n int not null); insert into counter values (1, 0);
      create table note (id int primary key, region text)`,
    log: kafkaLog(kafka),
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await kafka?.[Symbol.asyncDispose]();
});

/** Waits until the log has all of it but so many events. */
async function publishedBut(events: number, published: () => Promise<number>, total: number): Promise<void> {
  await waitFor(async () => (await published()) >= total - events, { what: 'capture to follow', limitMs: 300_000 });
}

/** Writes so many events at eu, as fast as they are published; tells the rate, and what the slot kept at most. */
async function write(events: number): Promise<{ perSecond: number; retained: number }> {
  const eventsOf = async (): Promise<number> => {
    const answer = await fetch(`${eu.api}/status`);
    return ((await answer.json()) as { capture: { events: number } }).capture.events;
  };
  const before = await eventsOf();
  const startedMs = performance.now();
  let written = 0;
  let retained = 0;
  while (written < events) {
    const to = last + ROWS_OF_TRANSACTION;
    await eu.sql(`begin; insert into item select id, 'row ' || id from generate_series(${last + 1}, ${to}) as id;
      update counter set n = ${to}; commit`);
    last = to;
    written += EVENTS_OF_TRANSACTION;
    if (written % AHEAD_EVENTS_MAX !== 0) continue;
    await publishedBut(AHEAD_EVENTS_MAX, async () => (await eventsOf()) - before, written);
    retained = Math.max(retained, await retainedBytes(eu));
  }
  await publishedBut(0, async () => (await eventsOf()) - before, written);
  return { perSecond: Math.round((written * 1_000) / (performance.now() - startedMs)), retained };
}

type CatchUp = { readonly perSecond: number; readonly startMs: number; readonly looks: number };

/**
 * Looks at us again and again until it has everything, and sees a prefix each time. Tells how long it took until the first
 * row was there, and the rate from then on.
 */
async function catchesUp(startedMs: number): Promise<CatchUp> {
  let looks = 0;
  let broken: string | null = null;
  let first: { readonly counter: number; readonly atMs: number } | null = null;
  const before = Number(await us.one('select n from counter'));
  await waitFor(
    async () => {
      const [[counter, highest, newest] = []] = await us.sql(
        `select n, (select max(id) from item), (select count(*) from item where id > n - ${LOOKED_AT_ROWS}) from counter`,
      );
      const isPrefix = counter === (highest ?? '0') && Number(newest) === Math.min(LOOKED_AT_ROWS, Number(counter));
      if (!isPrefix) broken = `the counter is ${counter}, the last row ${highest}, with ${newest} up to there`;
      if (Number(counter) > before) first ??= { counter: Number(counter), atMs: performance.now() };
      looks += 1;
      return broken !== null || counter === String(last);
    },
    { what: `us to catch up; its agent printed:\n${us.output.slice(-2_000)}`, limitMs: 600_000 },
  );
  assert.equal(broken, null);
  const { counter, atMs } = first ?? { counter: before, atMs: startedMs };
  // Where one look saw nothing and the next one everything, there is no rate but that of the whole.
  const [rows, tookMs] =
    counter < last ? [last - counter, performance.now() - atMs] : [last - before, performance.now() - startedMs];
  const events = (rows / ROWS_OF_TRANSACTION) * EVENTS_OF_TRANSACTION;
  return { perSecond: Math.round((events * 1_000) / tookMs), startMs: Math.round(atMs - startedMs), looks };
}

async function equalAgain(): Promise<void> {
  await cluster.settle();
  assert.deepEqual(
    await cluster.equal('select count(*), min(id), max(id), md5(string_agg(note, $$,$$ order by id)) from item'),
    [[String(last), '1', String(last), await eu.one('select md5(string_agg(note, $$,$$ order by id)) from item')]],
  );
  await cluster.equal('select * from counter');
  await cluster.equal('select * from note order by 1');
  for (const region of cluster.regions) {
    assert.equal(
      await region.one(`select coalesce(sum(n_tup_upd), 0) from pg_stat_user_tables where relname = 'item'`),
      '0',
    );
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
  }
}

test(`a link that rests for ${PAUSED_EVENTS} events goes on behind its last acked one, in order`, async (t) => {
  const sinceMs = Date.now();
  await write(EVENTS_OF_TRANSACTION);
  await cluster.settle();
  await setLink('eu', us, 'paused');
  const acked = await ackedSince('eu', us, sinceMs);
  const mark = `select position, event_id from syncline.applied where origin = 'eu'`;
  const [resting] = await us.sql(mark);
  const walFrom = await walPosition(eu);
  const written = await write(PAUSED_EVENTS);
  const wal = (await walPosition(eu)) - walFrom;
  await us.sql(`insert into note values (1, 'the other way goes on')`);
  await waitFor(async () => (await eu.one('select count(*) from note')) === '1', { what: 'what us wrote at eu' });
  assert.deepEqual(await us.sql(mark), [resting], 'nothing of eu was applied meanwhile');
  const link = await linkFrom('eu', us);
  assert.equal(link.last_acked_event_id, acked);
  assert.ok(link.lag_ms > 0);
  const atRest = await retainedBytes(eu);
  t.diagnostic(
    `wrote ${PAUSED_EVENTS} events (${megabytes(wal)} of WAL) at ${written.perSecond}/s; the slot kept ${megabytes(written.retained)} at most, ${megabytes(atRest)} in the end`,
  );
  assert.ok(written.retained <= RETAINED_MAX, 'the source keeps nothing for a link that rests');

  const startedMs = performance.now();
  await setLink('eu', us, 'active');
  const { perSecond, startMs, looks } = await catchesUp(startedMs);
  t.diagnostic(`caught up from ${startMs} ms on at ${perSecond}/s; ${looks} looks saw a prefix each`);
  await equalAgain();
  await waitFor(
    async () => (await linkFrom('eu', us)).events_applied - link.events_applied === eventsFor(PAUSED_EVENTS),
    {
      what: 'each event to be counted once',
    },
  );
});

test(`a region that is away for ${ABSENT_EVENTS} events, with its database, comes back to all of them`, async (t) => {
  await us.sql(`insert into note values (2, 'before')`);
  await cluster.settle();
  await us.killAgent();
  await us.server.kill9();
  const walFrom = await walPosition(eu);
  const written = await write(ABSENT_EVENTS);
  const wal = (await walPosition(eu)) - walFrom;
  t.diagnostic(
    `wrote ${ABSENT_EVENTS} events (${megabytes(wal)} of WAL) at ${written.perSecond}/s; the slot kept ${megabytes(written.retained)} at most`,
  );
  assert.ok(written.retained <= RETAINED_MAX, 'the source keeps nothing for a region that is away');
  await us.server.restart();
  const startedMs = performance.now();
  us.startAgent();
  const writeMeanwhile = async (): Promise<void> => {
    await us.agentReady();
    await using session = await us.session();
    await session.query(`insert into note values (3, 'while it catches up')`);
  };
  const [{ perSecond, startMs, looks }] = await Promise.all([catchesUp(startedMs), writeMeanwhile()]);
  t.diagnostic(
    `caught up from ${startMs} ms on at ${perSecond}/s, ${(perSecond / written.perSecond).toFixed(1)} times the rate of writing; ${looks} looks saw a prefix each`,
  );
  await equalAgain();
});

/** Whole transactions are written. */
function eventsFor(events: number): number {
  return Math.ceil(events / EVENTS_OF_TRANSACTION) * EVENTS_OF_TRANSACTION;
}
