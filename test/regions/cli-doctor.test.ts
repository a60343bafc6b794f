// For each prerequisite: a database with just that fault is found out, and what doctor prints, run as
// printed, mends it.

import assert from 'node:assert/strict';
import { chown, copyFile, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse as parseYaml } from 'yaml';
import { examine, sorted } from '../../src/cli/doctor-checks.ts';
import type { CheckCode } from '../../src/monitor/check-list.ts';
import type { Finding } from '../../src/monitor/finding.ts';
import { readPortrait } from '../../src/monitor/portrait.ts';
import { checkPrerequisites, findProblems, LEAVES_OUT_TABLE } from '../../src/monitor/prerequisites.ts';
import { type Config, parseConfig } from '../../src/platform/config.ts';
import { connect } from '../../src/platform/postgres.ts';
import { run } from '../support/command.ts';
import { Clinic, configFor, type Patient } from '../support/doctor-clinic.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

type Fault = {
  readonly name: string;
  readonly code: CheckCode;
  readonly severity?: Finding['severity'];
  /** Run by the owner of the database. */
  readonly owner?: readonly string[];
  readonly superuser?: readonly string[];
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** Run by a superuser after all others. */
  readonly later?: readonly string[];
  readonly what?: RegExp;
  /** What else comes with it and is no fault. */
  readonly besides?: readonly CheckCode[];
};

const T = 'create table public.t (id uuid primary key, v text)';

const FAULTS: readonly Fault[] = [
  { name: 'a role without REPLICATION', code: 'SYN-P004', superuser: ['alter role $me noreplication'] },
  {
    name: 'a role that may not act as a replica',
    code: 'SYN-P005',
    superuser: ['revoke set on parameter session_replication_role from $me'],
  },
  {
    name: 'a role that may not use replication origins',
    code: 'SYN-P006',
    superuser: [
      'revoke execute on function pg_replication_origin_xact_setup(pg_lsn, timestamptz), pg_replication_origin_create(text) from public',
    ],
  },
  {
    name: 'a database in which the role may create nothing',
    code: 'SYN-P011',
    superuser: ['alter database $me owner to postgres'],
  },
  {
    name: 'a schema of ours that another role made',
    code: 'SYN-P011',
    superuser: [
      'create schema syncline',
      'create table syncline.meta (key text primary key, value text not null)',
      'create function syncline.f() returns int language sql as $$ select 1 $$',
    ],
  },
  {
    name: 'a role whose transactions are read-only',
    code: 'SYN-P029',
    superuser: ['alter role $me set default_transaction_read_only = on'],
  },
  { name: 'a table without a key', code: 'SYN-P012', owner: ['create table public.t (id int, v text)'] },
  {
    name: 'a table with a unique index instead of a primary key',
    code: 'SYN-P012',
    owner: [
      'create table public.t ("Id" int not null, b int not null, v text unique)',
      'create unique index on public.t ("Id", b)',
      "insert into public.t values (1, 2, 'x')",
    ],
  },
  {
    name: 'a replica identity index instead of a primary key',
    code: 'SYN-P012',
    owner: [
      'create table public.t ("Id" int not null, v text)',
      'create unique index t_key on public.t ("Id")',
      'alter table public.t replica identity using index t_key',
    ],
  },
  {
    name: 'a generated column in the key',
    code: 'SYN-P012',
    owner: ['create table public.t (a int, id int generated always as (a + 1) stored primary key)'],
    besides: ['SYN-P027'],
  },
  {
    name: 'deferrable constraints',
    code: 'SYN-P013',
    owner: [
      'create table public.t (id uuid primary key deferrable, "A" int unique deferrable initially deferred)',
      'insert into public.t values (gen_random_uuid(), 1)',
    ],
  },
  {
    name: 'a deferrable exclusion constraint',
    code: 'SYN-P013',
    owner: [
      'create table public.t (id uuid primary key, r int4range, exclude using gist (r with &&) deferrable)',
      "insert into public.t values (gen_random_uuid(), '[1,2)')",
    ],
  },
  {
    name: 'a key whose equality is not that of its text',
    code: 'SYN-P017',
    owner: ['create table public.t (id interval primary key)'],
  },
  {
    name: 'a key with a nondeterministic collation',
    code: 'SYN-P017',
    owner: [
      `create collation public.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
      'create table public.t (id text collate public.any_case primary key)',
      "insert into public.t values ('A')",
    ],
  },
  {
    name: 'generated columns that are not stored',
    code: 'SYN-P031',
    owner: [
      'create table public.t (id uuid primary key, a int, "B" int generated always as (a * 2) virtual, c numeric(8, 2) generated always as (a / 3.0))',
      'insert into public.t values (gen_random_uuid(), 1)',
    ],
    besides: ['SYN-P027'],
  },
  {
    name: 'an index as replica identity instead of a primary key',
    code: 'SYN-P012',
    owner: [
      'create table public.t (id uuid not null unique)',
      'alter table public.t replica identity using index t_id_key',
    ],
  },
  {
    name: 'an unlogged table',
    code: 'SYN-P021',
    owner: ['create unlogged table public.t (id uuid primary key)'],
  },
  {
    name: 'a trigger that changes applied rows',
    code: 'SYN-P022',
    owner: [
      T,
      'create function public.f() returns trigger language plpgsql as $$ begin return new; end $$',
      'create trigger "On row" before insert on public.t for each row execute function public.f()',
      'alter table public.t enable always trigger "On row"',
    ],
  },
  {
    name: 'a trigger that writes besides applied rows',
    code: 'SYN-P022',
    severity: 'warning',
    owner: [
      T,
      'create function public.f() returns trigger language plpgsql as $$ begin return null; end $$',
      'create trigger later after insert on public.t for each row execute function public.f()',
      'alter table public.t enable replica trigger later',
    ],
  },
  {
    name: 'a rule that acts on applied rows',
    code: 'SYN-P022',
    owner: [
      T,
      'create rule "No insert" as on insert to public.t do instead nothing',
      'alter table public.t enable always rule "No insert"',
    ],
  },
  {
    name: 'a rule on updates, even one that is disabled',
    code: 'SYN-P022',
    owner: [
      T,
      'create rule silent as on update to public.t do also select 1',
      'alter table public.t disable rule silent',
    ],
  },
  {
    name: 'row security that is forced on the owner',
    code: 'SYN-P023',
    owner: [T, 'alter table public.t enable row level security', 'alter table public.t force row level security'],
  },
  {
    name: 'row security for a role that is no owner',
    code: 'SYN-P023',
    superuser: [
      T,
      'alter table public.t replica identity full',
      'alter table public.t enable row level security',
      'create publication syncline_$me for table public.t with (publish_via_partition_root, publish_generated_columns = stored)',
      'alter publication syncline_$me owner to $me',
      'grant all on public.t to $me',
    ],
  },
  {
    name: "another role's table",
    code: 'SYN-P011',
    superuser: ['create role app_$me', T, 'alter table public.t owner to app_$me'],
  },
  { name: "a superuser's table", code: 'SYN-P011', superuser: [T, 'grant all on public.t to $me'] },
  {
    name: 'privileges that the owner took from itself',
    code: 'SYN-P011',
    owner: [T, 'revoke update, truncate on public.t from $me'],
  },
  {
    name: 'a schema that may not be used',
    code: 'SYN-P011',
    include: ['Shop.*'],
    superuser: [
      'create schema "Shop"',
      'create table "Shop"."Order" (id uuid primary key)',
      'alter table "Shop"."Order" owner to $me',
    ],
  },
  {
    name: 'sequences that hand out the same numbers everywhere',
    code: 'SYN-P028',
    severity: 'warning',
    owner: [
      'create table public.t (id serial primary key, n int generated by default as identity)',
      'insert into public.t select generate_series(1, 7)',
      'create sequence public."Own"',
      `create table public.u (id bigint primary key default nextval('public."Own"'))`,
    ],
  },
  {
    name: 'a publication that is gone',
    code: 'SYN-K002',
    superuser: ["select pg_create_logical_replication_slot('syncline_$me', 'pgoutput')"],
  },
  {
    name: 'a publication with other options',
    code: 'SYN-K002',
    owner: ["create publication syncline_$me with (publish = 'insert')"],
  },
  {
    name: 'a publication of all tables',
    code: 'SYN-K002',
    superuser: ['create publication syncline_$me for all tables', 'alter publication syncline_$me owner to $me'],
  },
  {
    name: 'a publication with a row filter',
    code: 'SYN-K002',
    owner: [
      T,
      'create publication syncline_$me for table public.t where (v is null) with (publish_via_partition_root)',
      'alter table public.t replica identity full',
    ],
  },
  {
    name: 'a publication of a whole schema',
    code: 'SYN-K002',
    superuser: [
      'create publication syncline_$me for tables in schema public with (publish_via_partition_root)',
      'alter publication syncline_$me owner to $me',
    ],
  },
  ...(
    [
      ['idle_in_transaction_session_timeout', '1s'],
      ['idle_session_timeout', '30s'],
      ['transaction_timeout', '1min'],
    ] as const
  ).map(
    ([name, value]): Fault => ({
      name: `${name} = ${value} for the role`,
      code: 'SYN-P036',
      severity: 'warning',
      superuser: [`alter role $me set ${name} = '${value}'`],
    }),
  ),
  { name: 'few connections for the role', code: 'SYN-P037', superuser: ['alter role $me connection limit 3'] },
  { name: 'few connections for the database', code: 'SYN-P037', superuser: ['alter database $me connection limit 4'] },
  {
    name: 'hardly enough connections for the role',
    code: 'SYN-P037',
    severity: 'warning',
    superuser: ['alter role $me connection limit 9'],
  },
  {
    name: 'a password that expires',
    code: 'SYN-P037',
    severity: 'warning',
    superuser: ["do $$ begin execute format('alter role $me valid until %L', now() + interval '3 days'); end $$"],
  },
  {
    name: 'a slot that nobody reads',
    code: 'SYN-P034',
    severity: 'warning',
    superuser: ["select pg_create_logical_replication_slot('other_$me', 'pgoutput')"],
  },
  {
    name: 'a prepared transaction',
    code: 'SYN-P035',
    severity: 'info',
    owner: [T, 'begin', "insert into public.t values (gen_random_uuid(), 'x')", "prepare transaction 'it''s $me'"],
  },
  {
    name: 'large objects',
    code: 'SYN-P032',
    severity: 'warning',
    owner: [
      'create table public.t (id uuid primary key, "File" oid default 0)',
      "insert into public.t values (gen_random_uuid(), lo_from_bytea(0, 'x')), (gen_random_uuid(), null)",
    ],
  },
  {
    name: 'a collation of another version',
    code: 'SYN-P041',
    severity: 'warning',
    owner: [
      `create collation public."De" (provider = icu, locale = 'de')`,
      'create table public.t (id text collate public."De" primary key)',
    ],
    later: ["update pg_collation set collversion = '1.1' where collname = 'De'"],
  },
  {
    name: 'a foreign key to a table that is not named',
    code: 'SYN-P038',
    severity: 'warning',
    include: ['public.child'],
    owner: [
      'create table public."Parent" (id int primary key)',
      'create table public.child (id int primary key, parent int references public."Parent")',
    ],
  },
  {
    name: 'a foreign key to a table that is left out',
    code: 'SYN-P038',
    severity: 'warning',
    exclude: ['public.parent'],
    owner: [
      'create table public.parent (id int primary key)',
      'create table public.child (id int primary key, parent int, constraint "To parent" foreign key (parent) references public.parent)',
    ],
  },
  {
    name: 'a cascade into a table that is not named',
    code: 'SYN-P038',
    severity: 'warning',
    include: ['public.parent'],
    owner: [
      'create table public.parent (id int primary key)',
      'create table public.child (id int primary key, parent int references public.parent on delete cascade)',
    ],
  },
  {
    name: 'a child by inheritance that is not named',
    code: 'SYN-P039',
    severity: 'warning',
    include: ['public.base'],
    owner: [
      'create table public.base (id uuid primary key)',
      'create table public.child (primary key (id)) inherits (public.base)',
    ],
  },
  {
    name: 'rows of many megabytes',
    code: 'SYN-P048',
    severity: 'warning',
    owner: [
      'create table public.t (id uuid primary key, v text storage external)',
      "insert into public.t values (gen_random_uuid(), repeat('x', 40 << 20))",
      'analyze public.t',
    ],
  },
  {
    name: 'a replica identity that is not FULL',
    code: 'SYN-P025',
    severity: 'info',
    owner: [T],
  },
];

/** What needs nothing, and so nothing is printed that could be run. */
const NOTICES: readonly Fault[] = [
  {
    name: 'other unique constraints',
    code: 'SYN-P026',
    owner: ['create table public.t (id uuid primary key, a int unique, r int4range, exclude using gist (r with &&))'],
  },
  {
    name: 'generated columns',
    code: 'SYN-P027',
    what: /: b\.$/,
    owner: ['create table public.t (id uuid primary key, a int, b int generated always as (a * 2) stored)'],
  },
  {
    name: 'generated columns with functions of users',
    code: 'SYN-P027',
    what: /: b \(by public\.twice\)\.$/,
    owner: [
      'create function public.twice(int) returns int immutable language sql return $1 * 2',
      'create table public.t (id uuid primary key, a int, b int generated always as (public.twice(a)) stored)',
    ],
  },
  {
    name: 'foreign keys',
    code: 'SYN-P038',
    owner: [
      'create table public.parent (id int primary key)',
      'create table public.child (id int primary key, parent int references public.parent on delete set null)',
    ],
  },
  {
    name: 'materialized views',
    code: 'SYN-P040',
    owner: [T, 'create materialized view public.sums as select count(*) from public.t'],
  },
  { name: 'another publication', code: 'SYN-P034', owner: [T, 'create publication cdc_$me for table public.t'] },
];

let server: PostgresServer;
let clinic: Clinic;

before(async () => {
  server = await PostgresServer.start({ version: 18, settings: { fsync: 'off', max_prepared_transactions: '5' } });
  clinic = await Clinic.open(server);
});
after(async () => {
  await clinic[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Infos need nothing, and an empty database is none of the faults. */
const faultsIn = (findings: readonly Finding[]): Finding[] =>
  findings.filter(({ severity, code }) => severity !== 'info' && code !== 'SYN-P030');

async function withFault(fault: Fault): Promise<Patient> {
  const patient = await clinic.admit();
  const { include = ['public.*'], exclude = [] } = fault;
  patient.config = { ...patient.config, tables: { include: [...include], exclude: [...exclude] } };
  await patient.asSuperuser(...(fault.superuser ?? []));
  await patient.asOwner(...(fault.owner ?? []));
  await patient.asSuperuser(...(fault.later ?? []));
  return patient;
}

describe('a healthy database', () => {
  test('has no faults, and the agent may start', async () => {
    await using patient = await clinic.admit();
    await patient.asOwner(T, 'alter table public.t replica identity full');
    assert.deepEqual(await patient.findings(), []);
    await using client = await connect(patient.url, { applicationName: 'syncline test' });
    assert.deepEqual(await checkPrerequisites(client, patient.config), []);
  });

  test('is left as it is: everything is read in transactions that cannot write', async () => {
    await using patient = await clinic.admit();
    await patient.asOwner('create table public.t (id serial primary key, v text)');
    await using client = await connect(patient.url, { applicationName: 'syncline test' });
    await client.query('set default_transaction_read_only = on');
    const codes = (await findProblems(client, patient.config)).map(({ code }) => code);
    assert.deepEqual(codes, ['SYN-P029', 'SYN-P028', 'SYN-P025']);
    await readPortrait(client, patient.config);
  });

  test('that is empty is told so', async () => {
    await using patient = await clinic.admit();
    assert.deepEqual(
      (await patient.findings()).map(({ code, severity }) => [code, severity]),
      [['SYN-P030', 'warning']],
    );
  });
});

describe('what is printed mends', () => {
  for (const fault of FAULTS) {
    test(fault.name, async () => {
      const { code, severity = 'error', besides = [] } = fault;
      await using patient = await withFault(fault);
      const found = await patient.findings();
      const others = faultsIn(found).filter((each) => each.code !== code && !besides.includes(each.code));
      assert.deepEqual(others, [], 'nothing else is wrong');
      const mine = found.filter((each) => each.code === code);
      assert.ok(mine.length > 0 && mine.every((each) => each.severity === severity), JSON.stringify(found, null, 2));
      await using client = await connect(patient.url, { applicationName: 'syncline test' });
      // A table that is unfit is left out, and the agent serves the others.
      const stops = severity === 'error' && !LEAVES_OUT_TABLE.has(code);
      if (stops) await assert.rejects(checkPrerequisites(client, patient.config), { code });
      else await checkPrerequisites(client, patient.config);
      for (const { fix } of mine) await patient.mend(fix);
      const left = await patient.findings();
      assert.deepEqual(
        left.filter((each) => (each.code === code && each.severity === severity) || each.severity === 'error'),
        [],
      );
    });
  }
});

describe('tables', () => {
  test('that cannot be replicated may be left out instead, as printed', async () => {
    await using patient = await clinic.admit();
    await patient.asOwner(
      'create table public."No key" (v text)',
      'create unlogged table public.quick (id int primary key)',
      'create table public.late (id int primary key deferrable)',
      'create table public.odd (id jsonb primary key)',
      T,
    );
    for (;;) {
      const error = (await patient.findings()).find(({ severity }) => severity === 'error');
      if (error === undefined) break;
      patient.configure(error.fix);
    }
    assert.deepEqual(patient.config.tables.exclude.toSorted(), [
      'public.No key',
      'public.late',
      'public.odd',
      'public.quick',
    ]);
  });

  test('with rows get no key that would differ between regions', async () => {
    await using patient = await clinic.admit();
    await patient.asOwner('create table public.t (v text)', "insert into public.t values ('x')");
    const [finding] = await patient.findings();
    assert.equal(finding?.code, 'SYN-P012');
    assert.ok(
      finding?.fix.split('\n').every((line) => /^(--|#)/.test(line)),
      finding?.fix,
    );
  });

  test('of other servers are told, and take a partitioned table out', async () => {
    await using patient = await clinic.admit();
    await patient.asSuperuser(
      'create foreign data wrapper w',
      'create server s foreign data wrapper w',
      'grant usage on foreign server s to $me',
    );
    await patient.asOwner(
      'create foreign table public.far (id int) server s',
      'create table public.parts (id int primary key) partition by range (id)',
      'create table public.near partition of public.parts for values from (0) to (10)',
      T,
    );
    const [alone] = faultsIn(await patient.findings());
    assert.deepEqual([alone?.code, alone?.severity, alone?.table], ['SYN-P024', 'warning', 'public.far']);
    await patient.asOwner('drop foreign table public.far');
    await patient.asOwner('alter table public.parts drop constraint parts_pkey');
    await patient.asOwner(
      'create foreign table public.away partition of public.parts for values from (10) to (20) server s',
    );
    const faults = faultsIn(await patient.findings());
    const partition = faults.find(({ code }) => code === 'SYN-P024');
    assert.deepEqual([partition?.severity, partition?.table], ['error', 'public.away']);
    patient.configure(partition?.fix ?? '');
    assert.deepEqual(
      faultsIn(await patient.findings()).map(({ table }) => table),
      ['public.near', 'public.away'],
    );
  });

  test('tell faults of partitions once, where they can be mended', async () => {
    await using patient = await clinic.admit();
    await patient.asOwner(
      'create table public.parts (id int, at date, v text, unique (id, at) deferrable) partition by range (at)',
      "create table public.old partition of public.parts for values from ('2020-01-01') to ('2021-01-01')",
      "create unlogged table public.new partition of public.parts for values from ('2021-01-01') to ('2022-01-01')",
    );
    const faults = faultsIn(await patient.findings()).map(({ code, table }) => `${code} ${table}`);
    assert.deepEqual(faults.sort(), ['SYN-P012 public.parts', 'SYN-P013 public.parts', 'SYN-P021 public.new']);
  });

  test('with a rule on updates do refuse the statement by which rows are applied', async () => {
    await using patient = await clinic.admit();
    await patient.asOwner(
      T,
      'create rule silent as on update to public.t do also select 1',
      'alter table public.t disable rule silent',
    );
    const upsert = `insert into public.t values (gen_random_uuid(), 'x') on conflict (id) do update set v = excluded.v`;
    await patient.asSuperuser('set session_replication_role = replica');
    await assert.rejects(patient.asSuperuser(upsert), { code: '0A000' });
    for (const { fix, severity } of await patient.findings()) if (severity === 'error') await patient.mend(fix);
    await patient.asSuperuser(upsert);
  });
});

describe('databases', () => {
  test('with many tables are asked no more often than those with few', async () => {
    await using patient = await clinic.admit();
    await using client = await connect(patient.url, { applicationName: 'syncline test' });
    let asked = 0;
    const counting = new Proxy(client, {
      get(target, name) {
        if (name === 'query' || name === 'queryArrays') asked += 1;
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    const counts: number[] = [];
    for (const [from, to] of [
      [1, 2],
      [3, 40],
    ]) {
      await patient.asOwner(
        `do $$ begin for i in ${from}..${to} loop execute format(
           'create table public.t%s (id serial primary key, other int unique references public.t%s, v text)', i, greatest(i - 1, 1));
         end loop; end $$`,
      );
      asked = 0;
      await findProblems(counting, patient.config);
      counts.push(asked);
    }
    assert.equal(counts[0], counts[1]);
  });

  test('with an encoding that is no UTF8 are told, and refused where it says nothing', async () => {
    await using ascii = await clinic.admit({ encoding: 'SQL_ASCII' });
    await using latin = await clinic.admit({ encoding: 'LATIN1' });
    const of = async (patient: Patient) => (await patient.findings()).find(({ code }) => code === 'SYN-P020')?.severity;
    assert.equal(await of(ascii), 'error');
    assert.equal(await of(latin), 'warning');
  });

  test('whose collation has another version are told, and mended as printed', async () => {
    await using patient = await clinic.admit({ icu: 'und' });
    await patient.asSuperuser("update pg_database set datcollversion = '1.1' where datname = '$me'");
    const of = async (): Promise<Finding | undefined> =>
      (await patient.findings()).find(({ code }) => code === 'SYN-P041');
    const found = await of();
    assert.equal(found?.severity, 'warning');
    await patient.mend(found?.fix ?? '');
    assert.equal(await of(), undefined);
  });

  test('that a subscription writes into are told, and mended as printed', async () => {
    await using source = await clinic.admit();
    await using patient = await clinic.admit();
    const slot = `sub_${patient.name}`;
    await source.asOwner(T, 'create publication p for table public.t');
    await source.asSuperuser(`select pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
    await patient.asOwner(T, 'create table public.other (id uuid primary key)');
    const url = new URL(source.url);
    await patient.asSuperuser(
      `create subscription "Sub" connection 'host=${url.hostname} port=${url.port} dbname=${source.name} user=${url.username} password=${url.password}'
         publication p with (create_slot = false, copy_data = false, slot_name = '${slot}')`,
    );
    try {
      const [found] = faultsIn(await patient.findings());
      assert.deepEqual([found?.code, found?.severity], ['SYN-P033', 'warning']);
      assert.match(found?.what ?? '', /^The subscription Sub writes into public\.t\.$/);
      await patient.mend(found?.fix ?? '');
      assert.deepEqual(faultsIn(await patient.findings()), []);
    } finally {
      await patient.asSuperuser('alter subscription "Sub" disable', 'alter subscription "Sub" set (slot_name = none)');
      await patient.asSuperuser('drop subscription "Sub"');
      await waitFor(
        async () => {
          await source.asSuperuser(`select pg_drop_replication_slot('${slot}')`);
          return true;
        },
        { what: 'the slot of the subscription is free' },
      );
    }
  });

  test('whose slot has the name that the region needs are told', async () => {
    await using one = await clinic.admit();
    await using two = await clinic.admit();
    await one.asSuperuser(`select pg_create_logical_replication_slot('syncline_${two.name}', 'pgoutput')`);
    const errors = (await two.findings()).filter(({ severity }) => severity === 'error');
    assert.deepEqual(
      errors.map(({ code }) => code),
      ['SYN-K001'],
    );
    await one.asSuperuser(`select pg_drop_replication_slot('syncline_${two.name}')`);
  });
});

describe('what needs nothing', () => {
  for (const fault of NOTICES) {
    test(fault.name, async () => {
      await using patient = await withFault(fault);
      const found = await patient.findings();
      assert.deepEqual(faultsIn(found), []);
      const [mine] = found.filter((each) => each.code === fault.code);
      assert.equal(mine?.severity, 'info');
      assert.match(mine?.what ?? '', fault.what ?? /./);
      assert.match(mine?.fix ?? '', /^-- none is needed[^\n]*$/);
    });
  }
});

describe('the command', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'syncline-doctor-'));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** A fit region, changed. */
  async function region(patient: Patient, change: Record<string, unknown> = {}): Promise<Config> {
    await patient.asOwner(T, 'alter table public.t replica identity full');
    const config = { region: patient.name, database: patient.url, peers: [{ region: 'us' }], ...change };
    return parseConfig(JSON.stringify({ api: { listen: '127.0.0.1:0' }, log: { path: folder }, ...config }), {});
  }

  test('prints what mends, as text or JSON, and fails if there is an error', async () => {
    await using patient = await clinic.admit();
    const config = await region(patient);
    const path = join(folder, 'config.yaml');
    await writeFile(path, JSON.stringify(config));
    const fit = await run(['doctor', '-c', path]);
    // Nobody can tell what a region is like whose agent and database are not named.
    assert.match(fit.stdout, /^Notes: .*\n\ni SYN-P049 Nothing was compared with us\.\n/);
    assert.ok(fit.stdout.endsWith(`\n${patient.name} is fit (1 note)\n`), fit.stdout);
    assert.deepEqual([fit.code, fit.stderr], [0, '']);

    await patient.asSuperuser('alter role $me noreplication');
    const text = await run(['doctor', '-c', path]);
    assert.equal(text.code, 1);
    assert.match(
      text.stdout,
      /^Errors: .*\n\n✖ SYN-P004 The role p\w+ has no REPLICATION attribute\.\n {2}Changes are read from/,
    );
    assert.ok(text.stdout.includes(`\nalter role "${patient.name}" replication;\n`), text.stdout);
    const json = await run(['doctor', '-c', path, '--json']);
    assert.equal(json.code, 1);
    const report = JSON.parse(json.stdout) as { errors: number; findings: Finding[] };
    assert.deepEqual([report.errors, report.findings.map(({ code }) => code)], [1, ['SYN-P004', 'SYN-P049']]);
    await patient.mend(report.findings[0]?.fix ?? '');
    assert.deepEqual(await examine(config), []);
  });

  test('tells a database that cannot be had, and still looks at the rest', async () => {
    await using patient = await clinic.admit();
    const config = await region(patient, { peers: [] });
    const database = new URL(patient.url);
    database.password = 'wrong';
    const found = await examine({ ...config, database: database.href });
    assert.deepEqual(
      found.map(({ code, severity }) => [code, severity]),
      [
        ['SYN-P008', 'error'],
        ['SYN-C008', 'warning'],
      ],
    );
  });

  test('tells a folder of the log that cannot be used', async () => {
    await using patient = await clinic.admit();
    const file = join(folder, 'file');
    await writeFile(file, '');
    const config = await region(patient);
    for (const path of [file, join(file, 'below')]) {
      const [finding] = await examine(withFolder(config, path));
      assert.deepEqual([finding?.code, finding?.severity], ['SYN-L002', 'error']);
    }
    assert.deepEqual(await examine(withFolder(config, join(folder, 'new', 'log'))), []);
  });

  test('tells an address that is taken, by whom, and a free one', async () => {
    await using patient = await clinic.admit();
    let answer = '{"region":"us"}';
    const other = createServer((_, response) => response.end(answer));
    await new Promise<void>((resolve) => other.listen({ host: '127.0.0.1', port: 0 }, resolve));
    const address = other.address();
    const listen = `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
    try {
      const config = await region(patient, { api: { listen } });
      const [taken] = await examine(config);
      assert.deepEqual([taken?.code, taken?.severity], ['SYN-T006', 'error']);
      const offered = /# or in the configuration: (.*)$/m.exec(taken?.fix ?? '')?.[1] ?? '';
      assert.deepEqual(await examine({ ...config, ...(parseYaml(offered) as { api: Config['api'] }) }), []);

      answer = JSON.stringify({ region: patient.name });
      const [ours] = await examine(config);
      assert.deepEqual([ours?.code, ours?.severity], ['SYN-K005', 'info']);
    } finally {
      other.closeAllConnections();
      other.close();
    }
  });

  test('tells peers that are not what the configuration says', async () => {
    await using patient = await clinic.admit();
    const other = createServer((_, response) => response.end('{"region":"us"}'));
    await new Promise<void>((resolve) => other.listen({ host: '127.0.0.1', port: 0 }, resolve));
    const address = other.address();
    const api = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
    try {
      const peers = [
        { region: 'us', api },
        { region: 'ap', api },
        { region: 'sa', api: 'http://127.0.0.1:1' },
        { region: 'af', log: { path: join(folder, 'away') } },
      ];
      const found = sorted(await examine(await region(patient, { peers })));
      assert.deepEqual(
        found.map(({ code, severity }) => [code, severity]),
        [
          ['SYN-C007', 'error'],
          ['SYN-L002', 'warning'],
          ['SYN-T007', 'info'],
        ],
      );
    } finally {
      other.closeAllConnections();
      other.close();
    }
  });
});

describe('settings that a reload changes', () => {
  const settings = [
    ['wal_sender_timeout', '0', 'SYN-P018', 'warning'],
    ['wal_sender_timeout', '500ms', 'SYN-P018', 'warning'],
    ['max_slot_wal_keep_size', '1GB', 'SYN-P019', 'warning'],
    ['idle_replication_slot_timeout', '1h', 'SYN-P019', 'warning'],
    ['synchronized_standby_slots', '"nobody"', 'SYN-P055', 'error'],
  ] as const;
  for (const [setting, value, code, severity] of settings) {
    test(`${setting} = ${value}`, async () => {
      await using patient = await clinic.admit();
      const codes = async (): Promise<string[]> => faultsIn(await patient.findings()).map((each) => each.code);
      await patient.asSuperuser(`alter system set ${setting} = '${value}'`, 'select pg_reload_conf()');
      const [finding] = await waitFor(async () => (await codes()).length > 0 && faultsIn(await patient.findings()), {
        what: 'the setting is in force',
      });
      assert.deepEqual([finding?.code, finding?.severity], [code, severity]);
      await patient.mend(finding?.fix ?? '');
      await waitFor(async () => (await codes()).length === 0, { what: 'the setting is mended' });
    });
  }
});

describe('settings that take a restart', () => {
  let small: PostgresServer;
  before(async () => {
    small = await PostgresServer.start({ version: 18, settings: { fsync: 'off', max_wal_senders: '10' } });
  });
  after(async () => {
    await small[Symbol.asyncDispose]();
  });
  const findings = async (): Promise<Finding[]> => {
    await using client = await connect(small.url(), { applicationName: 'syncline test' });
    return faultsIn(await findProblems(client, configFor(small)));
  };
  const settings = [
    ['wal_level', 'replica', 'SYN-P001'],
    ['track_commit_timestamp', 'off', 'SYN-P002'],
    ['max_replication_slots', '0', 'SYN-P003'],
    ['max_wal_senders', '0', 'SYN-P003'],
    ['max_active_replication_origins', '1', 'SYN-P003'],
  ] as const;
  for (const [setting, value, code] of settings) {
    test(`${setting} = ${value}`, async () => {
      await small.restart({ [setting]: value });
      const found = await findings();
      assert.deepEqual(
        found.map((each) => [each.code, each.severity]),
        [[code, 'error']],
      );
      {
        await using client = await connect(small.url(), { applicationName: 'syncline test' });
        for (const line of found[0]?.fix.split('\n') ?? []) if (!line.startsWith('--')) await client.query(line);
      }
      await small.restart();
      assert.deepEqual(await findings(), []);
    });
  }

  test('a standby is refused', async () => {
    await small.stop();
    const signal = join(small.dataDirectory, 'standby.signal');
    await copyFile(join(small.dataDirectory, 'postgresql.auto.conf'), signal);
    const { uid, gid } = await stat(small.dataDirectory);
    await chown(signal, uid, gid);
    await small.restart();
    const codes = (await findings()).filter(({ severity }) => severity === 'error').map((each) => each.code);
    assert.deepEqual(codes, ['SYN-P014']);
  });
});

describe('on PostgreSQL 15', () => {
  test('a healthy database is found healthy, and grants mend a role without any', async () => {
    await using old = await PostgresServer.start({ version: 15, settings: { fsync: 'off' } });
    await using others = await Clinic.open(old);
    await using patient = await others.admit();
    await patient.asOwner(T, 'alter table public.t replica identity full');
    assert.deepEqual(await patient.findings(), []);
    await patient.asSuperuser(
      'alter role $me noreplication',
      'revoke set on parameter session_replication_role from $me',
      'revoke execute on function pg_replication_origin_session_setup(text) from public',
      'alter table public.t owner to postgres',
      'revoke all on public.t from $me',
      'alter database $me owner to postgres',
      "select pg_create_logical_replication_slot('syncline_$me', 'pgoutput')",
    );
    const found = await patient.findings();
    const codes = [...new Set(found.map(({ code }) => code))].sort();
    assert.deepEqual(codes, ['SYN-K002', 'SYN-P004', 'SYN-P005', 'SYN-P006', 'SYN-P011']);
    for (const { fix } of found) await patient.mend(fix);
    assert.deepEqual(await patient.findings(), []);
  });
});

/** The configuration with another folder of the log. */
function withFolder(config: Config, path: string): Config {
  return { ...config, log: { type: 'embedded', path, max_bytes: 10 * 1024 ** 3, keep_hours: 24 } };
}
