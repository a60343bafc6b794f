// What regions publish is what src/change/event-schema.ts, and with it docs/events.md, tells other programs: every kind of
// record, and every oddity of names, types, keys, images and clocks.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RecordKind } from '../../src/change/stream-record.ts';
import type { StoredRecord } from '../../src/log/event-log.ts';
import { loadConfig } from '../../src/platform/config.ts';
import { RegionLogs } from '../../src/region-logs.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { checkRecord, untoldFields } from '../support/event-checks.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { waitFor } from '../support/wait-for.ts';

const TOOL = 'another_tool';
const SCHEMA = `
create type mood as enum ('ok', 'so, so');
create type pair as (a int, b numeric);
create domain short_code as varchar(5) check (value <> '');
create table types (id bigint generated always as identity primary key, n numeric, f double precision, b bytea, d date,
  t timestamptz, i interval, j jsonb, x text[], m mood, p pair, c short_code, r int4range, mr int8multirange, ip inet,
  doubled numeric generated always as (n * 2) stored, gone int, empty text default '', unset text);
alter table types drop column gone;
create schema "Odd ""schema.";
create table "Odd ""schema."."Tablé 語" ("Key, 1" int, "select" text, "constructor" text, "__proto__" text, "new
line" text, primary key ("select", "Key, 1"));
create table "only-key" (id uuid primary key);
create table wide (id int primary key, big text, note text);
create table parts (id int, region text, primary key (id, region)) partition by list (region);
create table parts_eu partition of parts for values in ('eu');
create table parts_us partition of parts for values in ('us');
create table one (id int primary key, u int unique, v text);
create table numbers (id numeric primary key, v real);
create table counted (id int primary key, n int);`;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;

before(async () => {
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: SCHEMA,
    config: 'capture: { heartbeat_ms: 200 }\ntables: { include: ["*.*"], exclude: [] }',
    agents: false,
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
  for (const { sql } of [eu, us].map((region) => ({ sql: region.sql.bind(region) }))) {
    // Rows of the baseline: the same in both.
    await sql(`insert into wide select i, repeat('x', 10), null from generate_series(1, 100) i`);
  }
  await eu.sql(`select pg_replication_origin_create('${TOOL}')`);
  await cluster.startAgents();
});
after(async () => await cluster?.[Symbol.asyncDispose]());

test('records of every kind and every oddity are as the schema says, and have no field that it does not tell', async () => {
  await changeEverything();
  await mergeByRules();
  await us.killAgent();
  await us.sql('update wide set note = note where id < 10');
  us.startAgent();
  await us.agentReady();
  await decideOnParked();
  await cluster.settle();

  const seen = new Set<string>();
  for (const record of await published()) {
    assert.ok(record.kind !== 'newer');
    const value = JSON.parse(record.value) as Readonly<Record<string, unknown>>;
    checkRecord(record.kind, value);
    assert.deepEqual(untoldFields(record.kind, value), [], record.value.slice(0, 1_000));
    for (const trait of traitsOf(record.kind, value)) seen.add(trait);
  }
  const missing = TRAITS.filter((trait) => !seen.has(trait));
  assert.deepEqual(missing, [], 'what this test means to publish is published');
});

const TRAITS = [
  'baseline',
  'baseline with rows',
  'heartbeat',
  'run',
  'INSERT',
  'UPDATE',
  'DELETE',
  'TRUNCATE',
  'another key',
  'an operator',
  'another tool',
  'seen',
  'many events',
  'merge',
  'merge_shadow',
  'null',
  '__proto__',
  'constructor',
  'new\nline',
];

function traitsOf(kind: RecordKind, value: Readonly<Record<string, unknown>>): string[] {
  const image = (value.after_image ?? {}) as Readonly<Record<string, string | null>>;
  const pk = (value.row_pk ?? {}) as Readonly<Record<string, string | null>>;
  const before = (value.before_image ?? {}) as Readonly<Record<string, string | null>>;
  const transaction = (value.transaction ?? {}) as Readonly<Record<string, unknown>>;
  const tables = (value.tables ?? []) as readonly { readonly rows: number }[];
  const traits: [string, boolean][] = [
    [kind, true],
    [String(value.operation), true],
    ['baseline with rows', tables.some(({ rows }) => rows > 0)],
    ['another key', value.operation === 'UPDATE' && Object.keys(pk).some((column) => pk[column] !== before[column])],
    ['an operator', value.operator === true],
    ['another tool', transaction.stated_micros !== undefined],
    ['seen', Object.keys((transaction.seen ?? {}) as object).length > 0],
    ['many events', Number(transaction.index) > 500],
    ['merge', value.merge !== undefined],
    ['merge_shadow', value.merge_shadow !== undefined],
    ['null', Object.values(image).includes(null)],
    ...['__proto__', 'constructor', 'new\nline'].map((column): [string, boolean] => [
      column,
      Object.hasOwn(image, column),
    ]),
  ];
  return traits.flatMap(([trait, has]) => (has ? [trait] : []));
}

async function changeEverything(): Promise<void> {
  await eu.sql(`insert into types (n, f, b, d, t, i, j, x, m, p, c, r, mr, ip) values
    ('NaN', '-0', '\\x00ff', '0044-03-15 BC', '-infinity', '1 mon -2 days', '{"a": [1.00, null]}',
      '{{"a b",NULL},{"\\"",""}}', 'so, so', '(1,)', 'ü', 'empty', '{[1,3),[7,9)}', '::1/64'),
    ('1.00', 'Infinity', '', 'infinity', '2024-10-27 00:30:00.123456+00', '0', 'null', '{}', null, null, null, null, null, null)`);
  const odd = '"Odd ""schema."."Tablé 語"';
  await eu.sql(`insert into ${odd} values (1, '', 'c', 'p', e'a\\nb'), (2, 'ümläut 🦊', null, null, e'\\u0001')`);
  await eu.sql(`update ${odd} set "Key, 1" = 3, "constructor" = 'other' where "Key, 1" = 1`);
  await eu.sql(`delete from ${odd} where "Key, 1" = 2`);
  await eu.sql(`insert into "only-key" select gen_random_uuid() from generate_series(1, 3)`);
  // One value that is kept out of line, and stays as it is while the row changes.
  await eu.sql(`insert into wide select 1000, string_agg(md5(i::text), ''), null from generate_series(1, 5000) i`);
  await eu.sql(`update wide set note = 'changed' where id = 1000`);
  await eu.sql(`update wide set note = id::text`);
  await eu.sql(`insert into wide select i, 'x', null from generate_series(2001, 2600) i`);
  await eu.sql(`insert into parts values (1, 'eu'), (2, 'us')`);
  await eu.sql(`update parts set region = 'us' where id = 1`);
  await eu.sql(`insert into numbers values (1.0, 'NaN'), (2.00, '1e-45')`);
  await cluster.settle();
  await us.sql(`update numbers set id = 1.000 where id = 1`);
  await us.sql(`begin; savepoint a; update types set n = 2; rollback to a; update types set n = 3; commit`);
  await us.sql('truncate parts, "only-key"');
  for (const time of [null, '2001-01-01', 'infinity', '-infinity', '1066-10-14']) await asTool(time);
  await cluster.settle();
}

/** A transaction that another tool applied, with a commit timestamp of its own. */
async function asTool(time: string | null): Promise<void> {
  await using session = await eu.session();
  await session.query('select pg_replication_origin_session_setup($1)', [TOOL]);
  await session.query('begin');
  if (time !== null) await session.query(`select pg_replication_origin_xact_setup('0/1', '${time}')`);
  await session.query(`update wide set note = 'tool' where id = 1`);
  await session.query('commit');
}

/** A table with a rule, and then with another one beside it that has no effect. */
async function mergeByRules(): Promise<void> {
  const table = 'public.counted';
  const first = await registerMerge(eu, { table, columns: { n: 'counter' } });
  await untilMerge([eu, us], first.version_id, 'active');
  await us.sql('insert into counted values (1, 1)');
  const second = await registerMerge(eu, { table, columns: { n: 'max' }, rollout: { mode: 'shadow' } });
  await untilMerge([eu, us], second.version_id, 'active');
  await us.sql('update counted set n = n + 1');
}

/** Two rows claim one value; an operator gives the parked one another. */
async function decideOnParked(): Promise<void> {
  await us.killAgent();
  await eu.sql(`insert into one values (1, 1, 'a')`);
  await us.sql(`insert into one values (2, 1, 'b')`);
  us.startAgent();
  await us.agentReady();
  const parked = await waitFor(
    async () => {
      const answer = await fetch(`${eu.api}/quarantine?table=one`);
      const { items } = (await answer.json()) as { items: { event_id: string }[] };
      return items[0];
    },
    { what: 'a row to be parked' },
  );
  const answer = await fetch(`${eu.api}/quarantine/edit`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ event_id: parked.event_id, values: { u: '2' } }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** All records of both streams, void ones too. */
async function published(): Promise<StoredRecord[]> {
  await using logs = await RegionLogs.open(await loadConfig(eu.configPath), () => undefined);
  const records: StoredRecord[] = [];
  for (const { name } of cluster.regions) {
    await using reader = await logs.of(name).reader(name);
    for (let from = (await reader.bounds())?.first ?? 0; ; ) {
      const read = await reader.read(from, { records_max: 1_000, bytes_max: 8 * 1024 * 1024 });
      records.push(...read);
      const last = read.at(-1);
      if (last === undefined) break;
      from = last.offset + 1;
    }
  }
  return records;
}
