// For each prerequisite: a database with just that fault is found out, and what doctor prints, run as
// printed, mends it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/monitor/finding.ts';
import { checkPrerequisites } from '../../src/monitor/prerequisites.ts';
import type { ErrorCode } from '../../src/platform/errors.ts';
import { connect } from '../../src/platform/postgres.ts';
import { Clinic, type Patient } from '../support/doctor-clinic.ts';
import { PostgresServer } from '../support/postgres-server.ts';

type Fault = {
  readonly name: string;
  readonly code: ErrorCode;
  readonly severity?: Finding['severity'];
  /** Run by the owner of the database. */
  readonly owner?: readonly string[];
  readonly superuser?: readonly string[];
  readonly include?: readonly string[];
  /** What else comes with it and is no fault. */
  readonly besides?: readonly ErrorCode[];
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
      'create publication syncline_$me for table public.t with (publish_via_partition_root)',
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
    owner: ['create table public.t (id uuid primary key, a int, b int generated always as (a * 2) stored)'],
  },
];

let server: PostgresServer;
let clinic: Clinic;

before(async () => {
  server = await PostgresServer.start({ version: 18, settings: { fsync: 'off' } });
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
  if (fault.include !== undefined) {
    patient.config = { ...patient.config, tables: { include: [...fault.include], exclude: [] } };
  }
  await patient.asSuperuser(...(fault.superuser ?? []));
  await patient.asOwner(...(fault.owner ?? []));
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
      if (severity === 'error') await assert.rejects(checkPrerequisites(client, patient.config), { code });
      for (const { fix } of mine) await patient.mend(fix);
      const left = await patient.findings();
      assert.deepEqual(
        left.filter((each) => each.code === code || each.severity === 'error'),
        [],
      );
    });
  }
});

describe('what needs nothing', () => {
  for (const fault of NOTICES) {
    test(fault.name, async () => {
      await using patient = await withFault(fault);
      const found = await patient.findings();
      assert.deepEqual(faultsIn(found), []);
      const [mine] = found.filter((each) => each.code === fault.code);
      assert.equal(mine?.severity, 'info');
      assert.match(mine?.fix ?? '', /^-- none is needed[^\n]*$/);
    });
  }
});
