// The keeper of the registry on a database of its own: when it writes, and when it writes again.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MergeKeeper } from '../../src/merge/merge-keeper.ts';
import { MergeRegistry } from '../../src/merge/merge-registry.ts';
import { saveActivation } from '../../src/merge/registry-store.ts';
import { createLogger } from '../../src/platform/logger.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

class Kept implements AsyncDisposable {
  readonly client: PostgresClient;
  readonly registry: MergeRegistry;
  readonly #members: readonly string[];
  readonly #stop = new AbortController();
  keeper: MergeKeeper;
  streams = true;
  #running: Promise<void>;

  private constructor(client: PostgresClient, members: readonly string[]) {
    this.client = client;
    this.#members = members;
    const isCaptured = (): boolean => true;
    const tables = { include: ['public.*'], exclude: [] };
    this.registry = new MergeRegistry({
      region: 'eu',
      database: client,
      tables,
      isCaptured,
      check: async () => {},
      onChange: () => this.keeper.wake(),
    });
    this.keeper = this.#keeper();
    this.#running = this.keeper.run(this.#stop.signal);
  }

  static async start(...members: string[]): Promise<Kept> {
    const client = await connect(server.url(await server.createDatabase()), { applicationName: 'syncline test' });
    await migrate(client);
    await client.query('create table public.t (id int primary key, n int)');
    return new Kept(client, members);
  }

  #keeper(): MergeKeeper {
    return new MergeKeeper({
      region: 'eu',
      members: this.#members,
      database: this.client,
      check: async () => {},
      ownEpoch: async () => 'this one',
      isCaptured: () => this.streams,
      isReady: () => true,
      logger: createLogger({ level: 'silent' }),
    });
  }

  async register(): Promise<string> {
    const table = { schema_name: 'public', table_name: 't' };
    return await this.registry.register(table, { columns: { n: 'counter' } }, { mode: 'immediate', percent: 100 });
  }

  /** The transactions that wrote what the registry holds of a region. */
  async writers(region = 'eu'): Promise<string[]> {
    const tables = ['merge_version', 'merge_ack', 'merge_intent', 'merge_activation'];
    const each = tables.map((table) => `select xmin::text as writer from syncline.${table} where region = $1`);
    return (await this.client.query(each.join(' union all '), [region])).rows.map(({ writer }) => String(writer));
  }

  async until(rows: number): Promise<string[]> {
    await waitFor(async () => (await this.writers()).length === rows, { what: `${rows} rows of the region` });
    return await this.writers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.client.end();
  }
}

describe('a keeper', () => {
  test('writes nothing while what it writes would reach nobody', async () => {
    await using kept = await Kept.start('eu');
    kept.streams = false;
    await kept.register();
    kept.keeper.heard('us');
    kept.keeper.applied('eu', 'another one');
    await kept.until(2);
    const greeted = `select from syncline.meta where key = 'merge_greeted'`;
    assert.equal((await kept.client.query(greeted)).rowCount, 0);
    kept.streams = true;
    kept.keeper.wake();
    await kept.until(4);
    assert.equal((await kept.client.query(greeted)).rowCount, 1);
  });

  test('sends what is its own again, whole and once, to a region that has not known of it', async () => {
    await using kept = await Kept.start('eu');
    await kept.register();
    await kept.client.query(`insert into syncline.merge_ack (version_id, region, verdict) values ('v', 'us', 'ok')`);
    const first = await kept.until(4);
    const others = await kept.writers('us');
    kept.keeper.heard('us');
    await waitFor(async () => (await kept.writers()).every((writer) => !first.includes(writer)), { what: 'all again' });
    const second = await kept.writers();
    assert.equal(new Set(second).size, 1, 'in one transaction');
    kept.keeper.heard('us');
    kept.keeper.heard('ap');
    await waitFor(async () => (await kept.writers()).every((writer) => !second.includes(writer)), {
      what: 'once each',
    });
    const { rows } = await kept.client.query(`select value from syncline.meta where key = 'merge_greeted'`);
    assert.deepEqual(JSON.parse(rows[0]?.value ?? ''), ['ap', 'us']);
    assert.deepEqual(await kept.writers('us'), others, 'and nothing of another region');
  });

  test('refuses what a newer version says and this one cannot read, and goes on with the rest', async () => {
    await using kept = await Kept.start('eu');
    const known = await kept.register();
    await kept.until(4);
    const changes = [
      '{"rule": {"rows": "three-way"}}',
      '{"rule": {"columns": {"n": {"strategy": "average", "typeName": "int4"}}}}',
      '{"more": 1}',
      '[]',
    ];
    for (const [place, change] of changes.entries()) {
      await kept.client.query(
        `insert into syncline.merge_version (version_id, region, schema_name, table_name, definition, registered_by)
         select 'v' || $2::text, 'us', 'public', 't', case when $3::jsonb = '[]' then $3::jsonb else jsonb_set(definition || ($3::jsonb - 'rule'),
                '{rule}', (definition->'rule') || coalesce($3::jsonb->'rule', '{}')) end, 'us'
           from syncline.merge_version where version_id = $1 limit 1`,
        [known, String(place), change],
      );
    }
    kept.keeper.applied('us', 'another one');
    await kept.until(8);
    const acks = `select version_id, verdict, reason from syncline.merge_ack where version_id <> $1 order by 1`;
    const { rows } = await kept.client.query(acks, [known]);
    const reason = 'this version of Syncline cannot read it';
    assert.deepEqual(
      rows,
      changes.map((_, place) => ({ version_id: `v${place}`, verdict: 'refused', reason })),
    );
    // One that can be read, and is not what its id says.
    await kept.client.query(
      `insert into syncline.merge_version (version_id, region, schema_name, table_name, definition, registered_by)
       select 'other', 'us', schema_name, table_name, definition, 'us' from syncline.merge_version where version_id = $1 limit 1`,
      [known],
    );
    kept.keeper.applied('us', 'another one');
    await kept.until(9);
    const other = await kept.client.query(`select reason from syncline.merge_ack where version_id = 'other'`);
    assert.deepEqual(other.rows, [{ reason: 'its content does not have that id' }]);
  });

  test('never takes back what an agent behind it has activated', async () => {
    await using kept = await Kept.start('eu');
    await kept.register();
    await kept.until(4);
    await kept.client.query(
      `update syncline.merge_activation set generation = 7, decided_by = 'us', version_id = null`,
    );
    const intent = { schema_name: 'public', table_name: 't', version_id: 'v', base_version_id: null } as const;
    const older = { ...intent, mode: 'immediate', percent: 100, region: 'eu', generation: 7, wanted_at: '' } as const;
    await saveActivation(kept.client, 'eu', older);
    const active = async (): Promise<unknown> =>
      (await kept.client.query('select version_id, generation from syncline.merge_activation')).rows;
    assert.deepEqual(await active(), [{ version_id: null, generation: '7' }]);
    await saveActivation(kept.client, 'eu', { ...older, generation: 8 });
    assert.deepEqual(await active(), [{ version_id: 'v', generation: '8' }]);
  });

  test('sends it again where it came back from the log, of an epoch that is over', async () => {
    await using kept = await Kept.start('eu');
    await kept.register();
    const first = await kept.until(4);
    kept.keeper.applied('eu', 'this one');
    kept.keeper.applied('us', 'another one');
    await kept.client.query(
      `insert into syncline.merge_intent values ('public', 'u', 'us', null, null, 'immediate', 100, 1)`,
    );
    kept.keeper.wake();
    await kept.until(5);
    assert.ok((await kept.writers()).filter((writer) => first.includes(writer)).length === 4);
    kept.keeper.applied('eu', 'another one');
    await waitFor(async () => (await kept.writers()).every((writer) => !first.includes(writer)), { what: 'all again' });
  });
});
