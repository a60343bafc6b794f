// What doctor finds wrong with tables: every fault is found, and what is printed mends it, or leaves the table out.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readPortrait } from '../../src/monitor/checks/portrait.ts';
import { findProblems } from '../../src/monitor/checks/prerequisites.ts';
import { connect } from '../../src/platform/postgres.ts';
import { clinicForAll } from '../support/doctor-clinic.ts';
import { type Fault, faultsIn, T, testMending } from '../support/doctor-faults.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { waitFor } from '../support/wait-for.ts';

/** How a publication of ours is made. */
const PUBLISHED = `publish_via_partition_root${DEFAULT_MAJOR >= 18 ? ', publish_generated_columns = stored' : ''}`;

const FAULTS: readonly Fault[] = [
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
    name: 'constraints that partitions have by themselves',
    code: 'SYN-P058',
    owner: [
      'create table public.p (id int, at int, u int, r int4range, primary key (id, at)) partition by range (at)',
      'create table public."P 1" partition of public.p for values from (0) to (10) partition by list (at)',
      'create table public.p11 partition of public."P 1" for values in (1)',
      'create unique index "U 1" on public."P 1" (at, u)',
      'create table public.p2 partition of public.p for values from (10) to (20)',
      'alter table public.p2 add constraint "One u" unique (u), add exclude using gist (r with &&)',
      'create unique index on public.p2 (abs(id)) where u > 7',
      'create table public.refers (id int primary key, u int constraint "To u" references public.p2 (u))',
      "insert into public.p values (1, 1, 1, '[1,2)'), (1, 11, 1, '[1,2)')",
    ],
  },
  {
    name: 'deferrable constraints that partitions have by themselves',
    code: 'SYN-P058',
    owner: [
      'create table public."P" (id int, at date, u int, primary key (id, at)) partition by range (at)',
      'create table public."P 1" (id int, at date, u int unique deferrable, primary key (id, at) deferrable initially deferred)',
      `insert into public."P 1" values (1, '2026-01-31', 1)`,
      `alter table public."P" attach partition public."P 1" for values from ('2026-01-01') to ('2026-02-01')`,
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
    since: 18,
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
      `create publication syncline_$me for table public.t with (${PUBLISHED})`,
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
      'create table public.t (id uuid primary key, v text)',
      'alter table public.t alter column v set storage external',
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

const open = clinicForAll({ max_prepared_transactions: '5' });

describe('what is printed mends', () => {
  testMending(FAULTS, () => open().clinic);
});

describe('tables', () => {
  test('that cannot be replicated may be left out instead, as printed', async () => {
    await using patient = await open().clinic.admit();
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
    await using patient = await open().clinic.admit();
    await patient.asOwner('create table public.t (v text)', "insert into public.t values ('x')");
    const [finding] = await patient.findings();
    assert.equal(finding?.code, 'SYN-P012');
    assert.ok(
      finding?.fix.split('\n').every((line) => /^(--|#)/.test(line)),
      finding?.fix,
    );
  });

  test('of other servers are told, and take a partitioned table out', async () => {
    await using patient = await open().clinic.admit();
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
    await using patient = await open().clinic.admit();
    await patient.asOwner(
      'create table public.parts (id int, at date, v text, unique (id, at) deferrable) partition by range (at)',
      "create table public.old partition of public.parts for values from ('2020-01-01') to ('2021-01-01')",
      "create unlogged table public.new partition of public.parts for values from ('2021-01-01') to ('2022-01-01')",
    );
    const faults = faultsIn(await patient.findings()).map(({ code, table }) => `${code} ${table}`);
    assert.deepEqual(faults.sort(), ['SYN-P012 public.parts', 'SYN-P013 public.parts', 'SYN-P021 public.new']);
  });

  test('of which a partition has constraints of its own are left out, and partitions may be replicated each by itself', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner(
      'create table public.p (id int, at int, u int, primary key (id, at)) partition by range (at)',
      'create table public.p1 partition of public.p for values from (0) to (10)',
      'create table public.p2 partition of public.p for values from (10) to (20)',
      'create unique index on public.p2 (u)',
      'alter table public.p2 add constraint "By id" unique (id) deferrable',
    );
    const [finding, ...others] = faultsIn(await patient.findings());
    assert.deepEqual([finding?.code, finding?.table, others], ['SYN-P058', 'public.p2', []]);
    assert.match(finding?.what ?? '', /p2 has constraints that public\.p has not: p2_u_idx, By id \(deferrable\)\.$/);
    assert.match(
      finding?.fix ?? '',
      /^drop index public\.p2_u_idx;\nalter table public\.p2 drop constraint "By id";$/m,
    );
    await patient.asOwner('alter table public.p2 drop constraint "By id"');
    patient.configure(finding?.fix ?? '');
    assert.deepEqual(faultsIn(await patient.findings()), []);
  });

  test('may have in their partitions what they have themselves, whatever is done to it meanwhile', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner(
      'create table public.p (id int, at int, u int, v text, primary key (id, at)) partition by range (at)',
      'create unique index on public.p (at, lower(v)) where u > 3',
      'create table public.p1 (v text, gone int, u int, at int not null, id int not null)',
      'alter table public.p1 drop column gone',
      'alter table public.p attach partition public.p1 for values from (0) to (10)',
      'create unique index same on public.p1 (id, at)',
      'create unique index waits on only public.p (at, u)',
      'create unique index waits1 on public.p1 (at, u)',
    );
    assert.deepEqual(faultsIn(await patient.findings()), []);
    await using reader = await connect(patient.url, { applicationName: 'reader' });
    await using rebuilder = await connect(patient.url, { applicationName: 'rebuilder' });
    await reader.query('begin; select from public.p1');
    const rebuilt = rebuilder.query('reindex table concurrently public.p1');
    const copies = "select count(*) as n from pg_class where relname ~ '_cc(new|old)$'";
    await waitFor(async () => (await patient.admin.query(copies)).rows[0]?.n === '5', { what: 'indexes have copies' });
    assert.deepEqual(faultsIn(await patient.findings()), []);
    await reader.query('rollback');
    await rebuilt;
  });

  test('that are partitions of others have deferrable constraints from there', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner(
      'create table public.p (id int primary key deferrable) partition by range (id)',
      'create table public.p1 partition of public.p for values from (0) to (10)',
    );
    patient.config = { ...patient.config, tables: { include: ['public.p1'], exclude: [] } };
    const [finding, ...others] = faultsIn(await patient.findings());
    assert.deepEqual([finding?.code, finding?.table, others], ['SYN-P013', 'public.p1', []]);
    assert.ok(finding?.fix.split('\n').every((line) => /^(--|#)/.test(line)));
  });

  test('get another collation for their keys, and the columns stay what they are', async () => {
    await using patient = await open().clinic.admit();
    const keys = async (): Promise<unknown> =>
      (
        await patient.admin.query(
          `select attname, format_type(atttypid, atttypmod) as type, attcollation::regcollation::text as collation
             from pg_attribute where attrelid = 'public.t'::regclass and attnum > 0 order by attnum`,
        )
      ).rows;
    const key = (collation: string) => [
      { attname: 'Id', type: 'character varying(10)', collation },
      { attname: 'code', type: 'public.code', collation },
      { attname: 'n', type: 'integer', collation: '-' },
    ];
    await patient.asOwner(
      `create collation public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
      `create domain public.code as varchar(5) collate public.ci check (value <> 'none')`,
      'create table public.t ("Id" varchar(10) collate public.ci, code public.code, n int, primary key ("Id", n, code))',
      "insert into public.t values ('A', 'B', 1)",
    );
    assert.deepEqual(await keys(), key('public.ci'));
    const [finding] = await patient.findings();
    assert.equal(finding?.code, 'SYN-P017');
    await patient.mend(finding?.fix ?? '');
    assert.deepEqual(await keys(), key('"default"'));
    assert.deepEqual(faultsIn(await patient.findings()), []);
  });

  test('that are partitioned by a key of another collation are to be made anew', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner(
      `create collation public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
      'create table public.p (id text collate public.ci, at date, primary key (id, at)) partition by range (at)',
      "create table public.p1 partition of public.p for values from ('2020-01-01') to ('2021-01-01') partition by list (id)",
    );
    const [finding] = await patient.findings();
    assert.equal(finding?.code, 'SYN-P017');
    assert.match(finding?.fix ?? '', /partitioned by id, whose collation cannot be changed/);
    assert.ok(finding?.fix.split('\n').every((line) => /^(--|#)/.test(line)));
  });

  test('of which a user has partitions to himself are looked at all the same', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner(
      'create table public.p (id int primary key, n serial, v text) partition by range (id)',
      'create table public.p1 partition of public.p for values from (1) to (2)',
      'create table public.p2 partition of public.p for values from (2) to (3)',
      'create unique index on public.p1 (v)',
      'create sequence public.mine',
      "alter table public.p1 alter n set default nextval('public.mine')",
      'insert into public.p (id) values (1), (2)',
      'analyze public.p2',
    );
    await using user = await connect(patient.url, { applicationName: 'user' });
    await user.query('begin; lock table only public.p1 in access exclusive mode; truncate public.p2');
    await using client = await connect(patient.url, { applicationName: 'syncline test', lockTimeoutMs: 1 });
    const found = await findProblems(client, patient.config);
    assert.deepEqual(
      found.filter(({ severity }) => severity === 'error').map(({ code, table }) => [code, table]),
      [['SYN-P058', 'public.p1']],
    );
    const told = found.filter(({ code }) => code === 'SYN-P028');
    assert.deepEqual(told.map(({ what }) => what.replace(/ .*/s, '')).sort(), ['public.mine', 'public.p_n_seq']);
    const { sequences } = await readPortrait(client, patient.config);
    assert.deepEqual(sequences.map(({ name }) => name).sort(), ['public.mine', 'public.p_n_seq']);
    await user.query('rollback');
  });

  test('with a rule on updates do refuse the statement by which rows are applied', async () => {
    await using patient = await open().clinic.admit();
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
