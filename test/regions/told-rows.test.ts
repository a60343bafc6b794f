/**
 * Which rows of a late table a region tells, and when, without another region: what that one says is written by hand. And what becomes of
 * rows that it is told.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HLC_MAX, hlcFromMicros, hlcToText } from '../../src/change/hlc.ts';
import { CLAIM_PREFIX, type ClaimMessage } from '../../src/change/table-transfer.ts';
import { createLogger } from '../../src/platform/logger.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { ownOriginPrefix } from '../../src/platform/own-origins.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { TransferKeeper } from '../../src/transfer/transfer-keeper.ts';
import { LaneTarget } from '../support/lane-target.ts';
import { ORIGINS_MAX } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const LSN_MAX = 2n ** 64n - 1n;

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { [ORIGINS_MAX]: '60' } });
});
after(() => server[Symbol.asyncDispose]());

/** The table `t`, published in the regions `a`, which is at work here, and `b`, which is a row. */
class LateTable implements AsyncDisposable {
  readonly url: string;
  readonly client: PostgresClient;
  /** How often the keeper has asked whether it may seal the table. */
  looks = 0;
  #turns = 0;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(url: string, client: PostgresClient) {
    this.url = url;
    this.client = client;
  }

  static async make(): Promise<LateTable> {
    const url = server.url(await server.createDatabase());
    const client = await connect(url, { applicationName: 'test' });
    await migrate(client);
    await client.query(`insert into syncline.meta (key, value)
      values ('epoch', '1'), ('decision_secret', 's'), ('began_snapshot', pg_current_snapshot()::text)
      on conflict (key) do update set value = excluded.value`);
    await client.query('create table public.t (id int primary key, v text)');
    await client.query('create publication p for table public.t');
    await client.query(`insert into syncline.transfer (schema_name, table_name, region, generation, state)
      values ('public', 't', 'a', 1, 'published'), ('public', 't', 'b', 1, 'published')`);
    const slot = 'select pg_create_logical_replication_slot(current_database()::text, $1)';
    await client.query(slot, ['pgoutput']);
    return new LateTable(url, client);
  }

  start(): void {
    const keeper = new TransferKeeper({
      region: 'a',
      members: ['a', 'b'],
      url: this.url,
      applicationName: 'transfer',
      database: this.client,
      publication: 'p',
      isIncluded: () => true,
      isCaptured: () => {
        this.#turns += 1;
        return true;
      },
      stable: () => HLC_MAX,
      highest: () => 0n,
      echoedLsn: () => {
        this.looks += 1;
        return LSN_MAX;
      },
      logger: createLogger({ level: 'silent' }),
    });
    keeper.heard('b');
    this.#running = keeper.run(this.#stopping.signal);
  }

  async word(): Promise<{ readonly state: string; readonly isSealBefore: boolean }> {
    const { rows } = await this.client.query(
      `select state, sealed_at >> 10 < (extract(epoch from clock_timestamp()) * 1000000)::bigint as is_before
         from syncline.transfer where region = 'a'`,
    );
    return { state: String(rows[0]?.state), isSealBefore: rows[0]?.is_before === 't' };
  }

  /** Rows 1, 2 and so on, applied as writes of these regions; the versions that they show. */
  async write(regions: readonly string[]): Promise<string[]> {
    const prefix = await ownOriginPrefix(this.client);
    for (const [place, region] of regions.entries()) {
      await this.client.query('select pg_replication_origin_create($1)', [prefix + region]);
      await this.client.query('select pg_replication_origin_session_setup($1)', [prefix + region]);
      await this.client.query('insert into public.t values ($1, $2)', [String(place + 1), region]);
      await this.client.query('select pg_replication_origin_session_reset()');
    }
    const { rows } = await this.client.query(
      'select (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint as micros from public.t order by id',
    );
    return rows.map(({ micros }) => hlcToText(hlcFromMicros(BigInt(micros ?? 0))));
  }

  /** The other region says what this one says. */
  async follow(): Promise<void> {
    await this.client.query(`update syncline.transfer b set state = a.state, generation = a.generation
                               from syncline.transfer a where b.region = 'b' and a.region = 'a'`);
  }

  /** The other region follows until this one has come so far. */
  async until(state: string): Promise<void> {
    const isSo = async (): Promise<boolean> => {
      if ((await this.word()).state === state) return true;
      await this.follow();
      return false;
    };
    await waitFor(isSo, { what: `the region to be ${state}` });
  }

  /** Whatever the keeper can do next is done. */
  async goesOn(): Promise<void> {
    const from = this.#turns;
    await waitFor(() => this.#turns > from + 3, { what: 'the keeper to go on' });
  }

  async told(): Promise<ClaimMessage[]> {
    const { rows } = await this.client.query(
      `select encode(data, 'escape') as text from pg_logical_slot_peek_binary_changes(current_database(), null, null,
         'proto_version', '1', 'publication_names', 'p', 'messages', 'true') where position($1::bytea in data) > 0`,
      [CLAIM_PREFIX],
    );
    return rows.map(({ text }) => JSON.parse(String(text).slice(String(text).indexOf('{'))) as ClaimMessage);
  }

  async xmins(): Promise<string> {
    const { rows } = await this.client.query(
      "select string_agg(id || ' ' || xmin, ', ' order by id) as xmins from public.t",
    );
    return String(rows[0]?.xmins);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.client.query('select pg_drop_replication_slot(current_database())');
    await this.client.end();
  }
}

test('what a transaction wrote in a savepoint that ends behind the seal, or before it, is not written anew', async () => {
  await using late = await LateTable.make();
  await late.client.query("insert into public.t values (1, 'old')");
  await using user = await connect(late.url, { applicationName: 'user' });
  for (const statement of ['begin', 'savepoint s', "insert into public.t values (2, 'young')", 'release savepoint s'])
    await user.query(statement);
  // So that the savepoint's transaction is below the newest one.
  await late.client.query("insert into public.t values (3, 'old')");
  late.start();
  await waitFor(
    async () => {
      const { state, isSealBefore } = await late.word();
      return state === 'published' ? late.looks > 3 : isSealBefore;
    },
    { what: 'the region to wait, or to be sealed' },
  );
  await user.query('commit');
  const xmins = await late.xmins();
  await late.until('done');
  assert.equal(await late.xmins(), xmins);
  assert.deepEqual(
    (await late.told()).map(({ after }) => after.id),
    ['1', '2', '3'],
  );
});

test('no row is told while an event of the table is set aside, and what that makes of it is told then', async () => {
  for (const state of ['sealed', 'ready']) {
    await using late = await LateTable.make();
    await late.client.query("insert into public.t values (1, 'removed in b'), (2, 'stays')");
    late.start();
    await late.until(state);
    await late.client.query(`insert into syncline.quarantine
        (event_id, origin, schema_name, table_name, key, row_pk, hlc, position, event, sqlstate, error)
      values (gen_random_uuid(), 'b', 'public', 't', '["1"]', '{"id":"1"}', 1, '1', '{}', '23503', 'a child is there')`);
    await late.follow();
    await late.goesOn();
    assert.equal((await late.word()).state, state);
    assert.deepEqual(await late.told(), []);
    // As a retry of the event does.
    await late.client.query('delete from public.t where id = 1');
    await late.client.query('delete from syncline.quarantine');
    await late.until('done');
    assert.deepEqual(
      (await late.told()).map(({ after }) => after.id),
      ['2'],
    );
  }
});

test('a row that a region wrote last which was taken out is told, and one of the other region is not', async () => {
  await using late = await LateTable.make();
  const [, gone] = await late.write(['b', 'd']);
  late.start();
  await late.until('done');
  const told = await late.told();
  assert.deepEqual(
    told.map(({ after, version }) => [after.id, version]),
    [['2', gone]],
  );
});

test('a region whose stream is in another epoch since it sealed the table begins a new generation before it tells a row', async () => {
  await using late = await LateTable.make();
  await late.client.query("insert into public.t values (1, 'removed before the copy came back'), (2, 'stays')");
  late.start();
  await late.until('ready');
  await late.client.query("update syncline.meta set value = '2' where key = 'epoch'");
  await late.until('published');
  assert.deepEqual(await late.told(), []);
  // What was lost of the stream comes back.
  await late.client.query('delete from public.t where id = 1');
  await late.until('done');
  assert.deepEqual(
    (await late.told()).map(({ after }) => after.id),
    ['2'],
  );
  const { rows } = await late.client.query("select generation from syncline.transfer where region = 'a'");
  assert.equal(rows[0]?.generation, '2');
  const kept = "select key from syncline.meta where starts_with(key, 'transfer_epoch:')";
  const isLetGo = async (): Promise<boolean> => (await late.client.query(kept)).rows.length === 0;
  await late.follow();
  await waitFor(isLetGo, { what: 'what is kept of the table to be let go' });
});

for (const isFirst of [true, false])
  test(`of two rows that are told with one unique value the ${isFirst ? 'first' : 'second'} has it by its version, and the other is parked`, async () => {
    await using home = await LaneTarget.start(server, 'create table public.t (id int primary key, u text unique)');
    const [one, two] = [
      { id: '1', u: 'x' },
      { id: '2', u: 'x' },
    ];
    await home.apply('eu', 2_000, 't', [{ tell: one, n: isFirst ? 20 : 10 }]);
    await home.apply('ap', 2_001, 't', [{ tell: two, n: isFirst ? 10 : 20 }]);
    assert.deepEqual(await home.setAside(), []);
    const [kept, parked] = isFirst ? ['1', '2'] : ['2', '1'];
    assert.deepEqual(await home.rows('select id, u from public.t'), [[kept, 'x']]);
    assert.deepEqual(await home.rows('select key from syncline.parked'), [[`["${parked}"]`]]);
  });
