// What doctor finds wrong with a database and the role in it: every fault is found, and what is printed mends it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Finding } from '../../src/monitor/checks/finding.ts';
import { findProblems } from '../../src/monitor/checks/prerequisites.ts';
import { connect } from '../../src/platform/postgres.ts';
import { clinicForAll, type Patient, revokeReplicaRole } from '../support/doctor-clinic.ts';
import { type Fault, faultsIn, T, testMending } from '../support/doctor-faults.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { waitFor } from '../support/wait-for.ts';

const FAULTS: readonly Fault[] = [
  { name: 'a role without REPLICATION', code: 'SYN-P004', superuser: ['alter role $me noreplication'] },
  {
    name: 'a role that may not act as a replica',
    code: 'SYN-P005',
    superuser: [revokeReplicaRole(DEFAULT_MAJOR)],
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
      'create schema if not exists syncline',
      'create table syncline.meta (key text primary key, value text not null)',
      'create function syncline.f() returns int language sql as $$ select 1 $$',
    ],
  },
  {
    name: 'a role whose transactions are read-only',
    code: 'SYN-P029',
    superuser: ['alter role $me set default_transaction_read_only = on'],
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
    since: 15,
    code: 'SYN-K002',
    owner: [
      T,
      'create publication syncline_$me for table public.t where (v is null) with (publish_via_partition_root)',
      'alter table public.t replica identity full',
    ],
  },
  {
    name: 'a publication of a whole schema',
    since: 15,
    code: 'SYN-K002',
    superuser: [
      'create publication syncline_$me for tables in schema public with (publish_via_partition_root)',
      'alter publication syncline_$me owner to $me',
    ],
  },
  ...(
    [
      ['idle_in_transaction_session_timeout', '1s', 14],
      ['idle_session_timeout', '30s', 14],
      ['transaction_timeout', '1min', 17],
    ] as const
  ).map(
    ([name, value, since]): Fault => ({
      since,
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
    superuser: ['alter role $me connection limit 14'],
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
];

const open = clinicForAll({ max_prepared_transactions: '5' });

describe('what is printed mends', () => {
  testMending(FAULTS, () => open().clinic);
});

describe('databases', () => {
  test('with many tables are asked no more often than those with few', async () => {
    await using patient = await open().clinic.admit();
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

  test('that admit as many connections as the page says are fit, and those with one less are not', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/doctor.md'), 'utf8');
    const enough = Number(/A limit of (\d+) connections is enough/.exec(page)?.[1]);
    const holds = Number(/An agent holds (\d+) all the time/.exec(page)?.[1]);
    await using patient = await open().clinic.admit();
    const found = async (limit: number): Promise<string[]> => {
      await patient.asSuperuser(`alter role $me connection limit ${limit}`);
      return faultsIn(await patient.findings()).map(({ code, severity }) => `${code} ${severity}`);
    };
    assert.deepEqual(await found(enough), []);
    assert.deepEqual(await found(enough - 1), ['SYN-P037 warning']);
    assert.deepEqual(await found(holds), ['SYN-P037 warning']);
    assert.deepEqual(await found(holds - 1), ['SYN-P037 error']);
  });

  test('with an encoding that is no UTF8 are told, and refused where it says nothing', async () => {
    await using ascii = await open().clinic.admit({ encoding: 'SQL_ASCII' });
    await using latin = await open().clinic.admit({ encoding: 'LATIN1' });
    const of = async (patient: Patient) => (await patient.findings()).find(({ code }) => code === 'SYN-P020')?.severity;
    assert.equal(await of(ascii), 'error');
    assert.equal(await of(latin), 'warning');
  });

  // Databases have a collation of ICU, and remember its version, since 15.
  if (DEFAULT_MAJOR >= 15) {
    test('whose collation has another version are told, and mended as printed', async () => {
      await using patient = await open().clinic.admit({ icu: 'und' });
      await patient.asSuperuser("update pg_database set datcollversion = '1.1' where datname = '$me'");
      const of = async (): Promise<Finding | undefined> =>
        (await patient.findings()).find(({ code }) => code === 'SYN-P041');
      const found = await of();
      assert.equal(found?.severity, 'warning');
      await patient.mend(found?.fix ?? '');
      assert.equal(await of(), undefined);
    });
  }

  test('that a subscription writes into are told, and mended as printed', async () => {
    await using source = await open().clinic.admit();
    await using patient = await open().clinic.admit();
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
    await using one = await open().clinic.admit();
    await using two = await open().clinic.admit();
    await one.asSuperuser(`select pg_create_logical_replication_slot('syncline_${two.name}', 'pgoutput')`);
    const errors = (await two.findings()).filter(({ severity }) => severity === 'error');
    assert.deepEqual(
      errors.map(({ code }) => code),
      ['SYN-K001'],
    );
    await one.asSuperuser(`select pg_drop_replication_slot('syncline_${two.name}')`);
  });
});
