/**
 * A region whose clock is 5 s behind, one whose clock is 5 s ahead, and one whose clock is right.
 *
 * A write that was made after its region had seen another one wins over it, whatever the clocks say; what was made at the
 * same time ends equal everywhere.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { sqlStateOf } from '../../src/platform/errors.ts';
import { type Random, seededRandom, systemRandom } from '../../src/platform/random.ts';
import { agentStatus, linkFrom } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const ROUNDS = Number(process.env.SYNCLINE_ROUNDS ?? 3);
const WRITES_OF_ROUND = 60;
const ROWS = 8;
const SKEW_MS = 5_000;

let cluster: Cluster;
let slow: ClusterRegion;
let fast: ClusterRegion;

before(async () => {
  cluster = await Cluster.start({
    schema: 'create table item (id int primary key, v text); create table other (id int primary key, v text)',
    config: 'capture: { heartbeat_ms: 100 }',
    clocks: { eu: -SKEW_MS / 1_000, us: SKEW_MS / 1_000 },
  });
  [slow, fast] = [cluster.region('eu'), cluster.region('us')];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

beforeEach(async () => {
  await slow.sql('delete from item');
  await cluster.settle();
});

const items = async (): Promise<(string | null)[][]> => await cluster.equal('select id, v from item order by id');

/** Runs a statement in the fast region, lets every region see it, and then one in the slow region; and the other way. */
async function oneAfterTheOther(first: string, then: string): Promise<(string | null)[][]> {
  await fast.sql(first);
  await cluster.settle();
  await slow.sql(then);
  await cluster.settle();
  return await items();
}

test('an update in the slow region wins over the one of the fast region that it saw', async () => {
  const insert = "insert into item values (1, 'fast')";
  assert.deepEqual(await oneAfterTheOther(insert, "update item set v = v || ', slow'"), [['1', 'fast, slow']]);
  const update = "update item set v = v || ', fast again'";
  assert.deepEqual(await oneAfterTheOther(update, "update item set v = v || ', slow last'"), [
    ['1', 'fast, slow, fast again, slow last'],
  ]);
});

test('a removal in the slow region wins over what it saw, and so does a row inserted anew', async () => {
  const insert = "insert into item values (1, 'fast')";
  assert.deepEqual(await oneAfterTheOther(insert, 'delete from item where id = 1'), []);
  const again = "insert into item values (1, 'fast again')";
  assert.deepEqual(await oneAfterTheOther(again, 'delete from item where id = 1'), []);
  await slow.sql("insert into item values (1, 'slow')");
  await cluster.settle();
  assert.deepEqual(await items(), [['1', 'slow']]);
  assert.deepEqual(await oneAfterTheOther('delete from item', "insert into item values (1, 'slow last')"), [
    ['1', 'slow last'],
  ]);
});

test('a change of key in the slow region wins over what it saw, for both keys', async () => {
  const insert = "insert into item values (1, 'one'), (3, 'three')";
  assert.deepEqual(await oneAfterTheOther(insert, 'update item set id = 2 where id = 1'), [
    ['2', 'one'],
    ['3', 'three'],
  ]);
  const back = 'update item set id = 1 where id = 2';
  assert.deepEqual(await oneAfterTheOther(back, "update item set id = 2, v = v || ', slow' where id = 1"), [
    ['2', 'one, slow'],
    ['3', 'three'],
  ]);
});

test('TRUNCATE in the slow region empties what it saw, and not what came after', async () => {
  assert.deepEqual(await oneAfterTheOther("insert into item values (1, 'a'), (2, 'b')", 'truncate item'), []);
  const refill = "insert into item values (1, 'c')";
  await slow.sql(refill);
  await cluster.settle();
  assert.deepEqual(await items(), [['1', 'c']]);
  assert.deepEqual(await oneAfterTheOther('truncate item', "insert into item values (1, 'slow')"), [['1', 'slow']]);
});

test('a transaction that only saw an applied row is later than it as well', async () => {
  await fast.sql("insert into item values (1, 'seen')");
  await cluster.settle();
  // It writes to another table than what it read: whoever has its row and not what it saw would see an effect alone.
  await slow.sql('insert into other select 1, v from item on conflict (id) do update set v = excluded.v');
  await cluster.settle();
  await fast.sql("update other set v = 'fast' where id = 1");
  await slow.sql("update other set v = v || ', slow' where id = 1 and v = 'seen'");
  await cluster.settle();
  const [row] = await cluster.equal('select v from other where id = 1');
  assert.ok(row?.[0] === 'fast' || row?.[0] === 'seen, slow', String(row?.[0]));
});

test('writes that are made at once end equal everywhere', async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  for (let round = 0; round < ROUNDS; round += 1) {
    const random = seededRandom(SEED + round);
    await Promise.all(cluster.regions.map(async (region) => await writeAtRandom(region, random)));
    await cluster.settle();
    await items();
  }
});

async function writeAtRandom(region: ClusterRegion, random: Random): Promise<void> {
  for (let write = 0; write < WRITES_OF_ROUND; write += 1) {
    const id = 1 + random.below(ROWS);
    const value = `'${region.name} ${write}'`;
    const dice = random.below(100);
    if (dice < 50)
      await region.sql(`insert into item values (${id}, ${value}) on conflict (id) do update set v = ${value}`);
    else if (dice < 70) await region.sql(`delete from item where id = ${id}`);
    else if (dice < 95) {
      const free = `not exists (select from item where id = ${id})`;
      const change = region.sql(`update item set id = ${id} where id = ${1 + random.below(ROWS)} and ${free}`);
      // Another region's row may take the key between the look and the write, as another user's may.
      await change.catch((error: unknown) => {
        if (sqlStateOf(error) !== '23505') throw error;
      });
    } else await region.sql('truncate item');
  }
}

test('the drift of each link is measured, and pushed stamps are counted where the clock is behind', async () => {
  const expected = [
    ['us', 'eu', 2 * SKEW_MS],
    ['eu', 'us', -2 * SKEW_MS],
    ['ap', 'eu', SKEW_MS],
    ['us', 'ap', SKEW_MS],
  ] as const;
  for (const [source, target, drift] of expected) {
    await waitFor(
      async () => {
        const { clock_drift_ms, clock_drift_error_ms } = await linkFrom(source, cluster.region(target));
        if (clock_drift_ms === null || clock_drift_error_ms === null) return false;
        return Math.abs(clock_drift_ms - drift) <= clock_drift_error_ms + 1;
      },
      { what: `the drift of ${source}:${target} to be ${drift} ms within its error` },
    );
  }
  const { capture, problems } = await agentStatus(slow);
  assert.ok(capture.pushed > 0);
  assert.equal(problems.filter(({ code }) => code === 'SYN-P045').length, 2, 'both other clocks are ahead');
  const metrics = await fetch(`${slow.api}/metrics`).then(async (answer) => await answer.text());
  assert.match(
    metrics,
    /syncline_link_clock_drift_seconds\{region_source="us",region_target="eu",region="eu"\} (9\.|10)/,
  );
  assert.match(metrics, /syncline_capture_pushed_stamps_total\{region="eu"\} [1-9]/);
});
