/**
 * The conflict log of three regions that write the same rows all the time, with a link that rests meanwhile and an agent
 * that is killed: in the end it is the same in all of them, final, and what the definition of a loss says.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Random, seededRandom, systemRandom } from '../../src/platform/random.ts';
import { setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { PublishedLosses } from '../support/published-losses.ts';
import { waitFor } from '../support/wait-for.ts';

/** How many conflicts there are to be at least. */
const CONFLICTS = Number(process.env.SYNCLINE_CONFLICTS ?? 1_000);
const SEED = Number(process.env.SYNCLINE_SEED ?? systemRandom.below(1_000_000));
const ROWS = 400;
const ROWS_PER_WRITE = 20;
const LOG = `select conflict_id, event_id_a, event_id_b, winner_event_id, schema_name, table_name, row_pk, resolution_strategy,
  loser_hlc, loser_origin, winner_hlc, winner_origin, image_a, image_b, base_image, result_image, provisional,
  provisional_reason from syncline.conflict_log order by conflict_id`;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: 'create table item (id int primary key, v text, n int not null default 0)' });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

/** Writes to every region at once until it is stopped. */
class Writers implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #done: Promise<unknown>;
  writes = 0;

  constructor(regions: readonly ClusterRegion[], random: Random) {
    this.#done = Promise.all(regions.map(async (region) => await this.#write(region, random)));
    this.#done.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #write(region: ClusterRegion, random: Random): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const from = 1 + random.below(ROWS);
      const rows = `id >= ${from} and id < ${from + ROWS_PER_WRITE}`;
      const dice = random.below(10);
      const value = `${region.name} ${this.writes}`;
      if (dice < 6) await region.sql(`update item set v = '${value}', n = n + 1 where ${rows}`);
      else if (dice < 8) {
        await region.sql(`insert into item select i, '${value}' from generate_series(${from}, ${from + ROWS_PER_WRITE - 1}) i
          on conflict (id) do update set v = excluded.v`);
      } else await region.sql(`delete from item where ${rows} and n % 3 = 1`);
      this.writes += 1;
    }
  }
}

test(`over ${CONFLICTS} conflicts are final and the same in all regions, and no loss goes unlogged`, async (t) => {
  t.diagnostic(`SYNCLINE_SEED=${SEED}`);
  const [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
  await using published = await PublishedLosses.of(cluster, 'item');
  const recordsOf = async (region: ClusterRegion): Promise<number> =>
    Number(await region.one('select count(*) from syncline.conflict_log'));
  const reaches = async (region: ClusterRegion, records: number): Promise<void> => {
    await waitFor(async () => (await recordsOf(region)) >= records, {
      what: `${region.name} to log ${records} conflicts`,
      limitMs: 300_000,
    });
  };
  const random = seededRandom(SEED);
  {
    await using writers = new Writers(cluster.regions, random);
    await reaches(us, CONFLICTS * 0.3);
    await setLink('eu', us, 'paused');
    await reaches(ap, CONFLICTS * 0.6);
    const before = writers.writes;
    await ap.killAgent();
    await waitFor(async () => writers.writes > before + 30, { what: 'writes while an agent is away' });
    ap.startAgent();
    await ap.agentReady();
    await setLink('eu', us, 'active');
  }
  await cluster.settleConflicts();
  // Of what is logged at first some turns out to be no loss.
  for (let records = await recordsOf(eu); records < CONFLICTS; records = await recordsOf(eu)) {
    {
      await using _ = new Writers(cluster.regions, random);
      await reaches(eu, records + CONFLICTS * 0.3);
    }
    await cluster.settleConflicts();
  }

  await cluster.equal('select * from item order by id');
  const log = await cluster.equal(LOG);
  assert.ok(log.length >= CONFLICTS);
  assert.deepEqual([...new Set(log.map((record) => record.slice(-2).join()))], ['f,']);
  const expected = (await published.losses()).map(({ loser, winner }) => `${loser.event_id} to ${winner.event_id}`);
  const logged = log.map(([, lost, won]) => `${lost} to ${won}`);
  assert.deepEqual(logged.sort(), expected.sort());
  t.diagnostic(`${log.length} conflicts are final`);
});
