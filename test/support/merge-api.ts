/** The API with an agent that takes merge rules, and what keepers of merge rules would say in its database. */
import assert from 'node:assert/strict';
import { MergeVersion } from '../../src/api/merge-schemas.ts';
import { MergeRegistry } from '../../src/merge/merge-registry.ts';
import { MergeSandbox } from '../../src/resolve/sandbox/merge-sandbox.ts';
import { type Answer, ApiFixture, assertFits, type Json } from './api-fixture.ts';
import type { PostgresServer } from './postgres-server.ts';

const SCHEMA = `
create domain positive as int check (value > 0);
create table carts (id int primary key, qty int not null, price float8, items text[], note varchar(20), left_over positive,
  twice int generated always as (qty * 2) stored, check (qty >= 0));
create table wide (a text, b numeric, n int, primary key (b, a));
create table keyless (n int);
create table mails (id int primary key, mail text unique);
create table rooms (id int primary key, during int4range, exclude using gist (during with &&));
create table parts (id int primary key, n int) partition by range (id);
create table parts_1 partition of parts for values from (0) to (10);
create table hidden (id int primary key, n int);
create schema other;
create table other.t (id int primary key, n int)`;

/** The API with an agent that takes merge rules; `streams` says whether it captures. */
export async function startMergeApi(
  server: PostgresServer,
  change: Json = {},
): Promise<ApiFixture & { streams: boolean }> {
  const fixture = Object.assign(await ApiFixture.start(server, change), { streams: true });
  await fixture.client.query('set search_path = public, pg_catalog');
  await fixture.client.query(SCHEMA);
  await fixture.client.query('set search_path = pg_catalog');
  fixture.agent.merges = new MergeRegistry({
    region: 'eu',
    database: fixture.client,
    tables: { include: ['public.*'], exclude: ['public.hidden'] },
    check: async (version) => {
      await using sandbox = new MergeSandbox();
      await sandbox.check(version);
    },
    isCaptured: () => fixture.streams,
    onChange: () => {},
  });
  return fixture;
}

export async function register(fixture: ApiFixture, json: Json): Promise<Answer> {
  return await fixture.call('/merge-functions', { json });
}

export async function registered(fixture: ApiFixture, json: Json): Promise<MergeVersion> {
  const { status, body } = await register(fixture, json);
  assert.equal(status, 200, JSON.stringify(body));
  assertFits(MergeVersion, body);
  return body as MergeVersion;
}

/** What keepers in these regions would say. */
export async function acknowledge({ client }: ApiFixture, id: string, ...regions: string[]): Promise<void> {
  for (const region of regions) {
    await client.query(`insert into syncline.merge_ack (version_id, region, verdict) values ($1, $2, 'ok')`, [
      id,
      region,
    ]);
  }
}

export async function activate({ client }: ApiFixture, ...regions: string[]): Promise<void> {
  for (const region of regions) {
    await client.query(
      `insert into syncline.merge_activation as a (schema_name, table_name, region, version_id, base_version_id, mode, percent,
              generation, decided_by)
       select distinct on (schema_name, table_name) schema_name, table_name, $1, version_id, base_version_id, mode, percent,
              generation, region
         from syncline.merge_intent order by schema_name, table_name, generation desc
           on conflict (schema_name, table_name, region) do update set version_id = excluded.version_id,
              base_version_id = excluded.base_version_id, mode = excluded.mode, percent = excluded.percent,
              generation = excluded.generation`,
      [region],
    );
  }
}
