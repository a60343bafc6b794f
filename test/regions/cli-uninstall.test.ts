// An agent served a region under a role that has what doctor prints and no more; uninstall leaves the
// database as it was before.

import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Running, run, start } from '../support/command.ts';
import { clinicForAll, type Patient } from '../support/doctor-clinic.ts';
import { waitFor } from '../support/wait-for.ts';

const open = clinicForAll();

const SCHEMA = [
  'create table public.plain (id uuid primary key, v text)',
  'create table public."By Index" (id uuid primary key, n int not null)',
  'create unique index "N index" on public."By Index" (n)',
  'alter table public."By Index" replica identity using index "N index"',
  'create table public.none (id uuid primary key)',
  'alter table public.none replica identity nothing',
  'create table public.whole (id uuid primary key)',
  'alter table public.whole replica identity full',
  'create table public.parts (id int primary key) partition by range (id)',
  'create table public.part partition of public.parts for values from (0) to (10)',
  'create table public.gone (id uuid primary key)',
];

/** All that Syncline could have left, and how the tables are. */
const CATALOG = `
select json_build_object(
  'schemas', (select json_agg(nspname order by nspname) from pg_namespace where nspname !~ '^pg_(toast_)?temp_'),
  'relations', (select json_agg(concat_ws(' ', oid::regclass, relkind, relreplident) order by oid)
                  from pg_class where oid >= 16384 and relnamespace <> 'pg_toast'::regnamespace),
  'identity', (select json_agg(indexrelid::regclass order by indexrelid) from pg_index where indisreplident),
  'functions', (select json_agg(oid order by oid) from pg_proc where oid >= 16384),
  'types', (select count(*) from pg_type where oid >= 16384),
  'publications', (select json_agg(pubname) from pg_publication),
  'slots', (select json_agg(slot_name) from pg_replication_slots),
  'origins', (select json_agg(roname) from pg_replication_origin),
  'triggers', (select json_agg(oid) from pg_trigger where not tgisinternal),
  'event triggers', (select json_agg(evtname) from pg_event_trigger),
  'depend', (select count(*) from pg_depend),
  'descriptions', (select count(*) from pg_description),
  'settings', (select json_agg(setconfig) from pg_db_role_setting)
)`;

async function catalog(patient: Patient): Promise<unknown> {
  const { rows } = await patient.admin.queryArrays(CATALOG);
  return JSON.parse(String(rows[0]?.[0])) as unknown;
}

async function configOf(patient: Patient): Promise<string> {
  const path = join(open().folder, `${patient.name}.yaml`);
  const config = {
    region: patient.name,
    database: patient.url,
    log: { path: join(open().folder, 'log') },
    api: { listen: '127.0.0.1:0' },
    peers: [{ region: 'us' }],
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

async function running(path: string): Promise<Running> {
  const agent = start(['agent', '-c', path]);
  let printed = '';
  agent.process.stdout?.on('data', (chunk: string) => {
    printed += chunk;
  });
  const api = await waitFor(() => /"api":"([^"]+)"/.exec(printed)?.[1], { what: 'the API listens' });
  await waitFor(async () => (await fetch(`${api}/readyz`)).ok, { what: `the agent is ready: ${printed}` });
  return agent;
}

test('the database is afterwards as it was before', async () => {
  await using patient = await open().clinic.admit();
  await patient.asOwner(...SCHEMA);
  const path = await configOf(patient);
  // On PostgreSQL 14 what a superuser made for the role is in the schema, and goes with it.
  await patient.asSuperuser('drop schema if exists syncline cascade');
  const before = await catalog(patient);
  await patient.grantReplicaRole();

  const agent = await running(path);
  await patient.asOwner("insert into public.plain values (gen_random_uuid(), 'x')", 'drop table public.gone');
  // The lane makes its replication origin with its first batch.
  const origins = 'select from pg_replication_origin where roname like $1';
  await waitFor(async () => (await patient.admin.query(origins, [`%${patient.name}`])).rowCount > 0, {
    what: 'the echo of the first row',
  });
  const whileServed = await catalog(patient);
  assert.notDeepEqual(whileServed, before);

  const refused = await run(['uninstall', '-c', path, '--yes']);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /SYN-K005/);
  assert.deepEqual(await catalog(patient), whileServed, 'nothing was removed under a running agent');

  agent.process.kill('SIGTERM');
  const ended = await agent.outcome;
  assert.equal(ended.code, 0, ended.stdout + ended.stderr);

  const unconfirmed = await run(['uninstall', '-c', path, '--json']);
  assert.equal(unconfirmed.code, 1);
  assert.match(unconfirmed.stderr, /SYN-T012/);
  const plan = JSON.parse(unconfirmed.stdout) as { removed: boolean; identities: { table: string; was: string }[] };
  assert.equal(plan.removed, false);
  assert.deepEqual(
    plan.identities.map(({ table, was }) => `${table} ${was}`),
    [
      'public."By Index" using index "N index"',
      'public."none" nothing',
      'public.part default',
      'public.parts default',
      'public.plain default',
    ],
  );
  assert.deepEqual(await catalog(patient), whileServed, 'nothing was removed without --yes');

  const done = await run(['uninstall', '-c', path, '--yes', '--log']);
  assert.equal(done.code, 0, done.stderr);
  await patient.asOwner('create table public.gone (id uuid primary key)');
  assert.deepEqual(withoutIds(await catalog(patient)), withoutIds(before));
  assert.deepEqual(await readdir(join(open().folder, 'log')), []);

  const again = await run(['uninstall', '-c', path, '--yes', '--json']);
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(JSON.parse(again.stdout), {
    removed: true,
    slot: null,
    publication: null,
    schema: null,
    origins: [],
    origins_kept: [],
    identities: [],
    sequences: [],
    stream: null,
  });
});

test('an identity that was changed since is left alone, and a slot in use stops everything', async () => {
  await using patient = await open().clinic.admit();
  await patient.asOwner(...SCHEMA);
  const path = await configOf(patient);
  const agent = await running(path);
  const origins = async (): Promise<number> =>
    (await patient.admin.query(`select from pg_replication_origin where roname like '%${patient.name}'`)).rowCount;
  await waitFor(async () => (await origins()) > 0, { what: 'the agent uses its own origin' });
  agent.process.kill('SIGTERM');
  assert.equal((await agent.outcome).code, 0);
  await patient.asOwner(
    'alter table public.plain replica identity nothing',
    'drop index public."N index"',
    'alter table public."By Index" replica identity full',
  );
  const origin = `select pg_replication_origin_session_setup(roname) from pg_replication_origin where roname like '%${patient.name}'`;
  await patient.asSuperuser(origin);
  const before = await catalog(patient);
  const held = await run(['uninstall', '-c', path, '--yes']);
  assert.equal(held.code, 1);
  assert.match(held.stderr, /SYN-K004/);
  assert.deepEqual(await catalog(patient), before);
  await patient.asSuperuser('select pg_replication_origin_session_reset()');
  // A region that does without origins may have some from before, which nothing but a superuser can drop.
  await patient.asSuperuser('revoke execute on function pg_replication_origin_drop(text) from public');
  const done = await run(['uninstall', '-c', path, '--yes']);
  assert.equal(done.code, 0, done.stderr);
  const [, drops] = /a superuser can:\n((?: +select pg_replication_origin_drop.*\n)+)/.exec(done.stdout) ?? [];
  assert.ok(drops !== undefined, done.stdout);
  await patient.asSuperuser(drops);
  assert.equal(await origins(), 0);
  const { rows } = await patient.admin.query(
    `select relname, relreplident from pg_class where relname in ('plain', 'By Index') order by relname`,
  );
  assert.deepEqual(
    rows.map((row) => row.relreplident),
    ['d', 'n'],
  );
});

/** A table that was made anew has other numbers. */
function withoutIds(value: unknown): unknown {
  const { relations, ...rest } = value as { relations: string[] };
  return { ...rest, relations: relations.toSorted() };
}
