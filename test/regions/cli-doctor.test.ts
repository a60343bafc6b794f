// What doctor says of a healthy database and of what needs nothing, and the command itself.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import os, { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, mock, test } from 'node:test';
import { promisify } from 'node:util';
import { parse as parseYaml } from 'yaml';
import { examine, sorted } from '../../src/cli/doctor-checks.ts';
import type { Finding } from '../../src/monitor/checks/finding.ts';
import { readPortrait } from '../../src/monitor/checks/portrait.ts';
import { checkPrerequisites, findProblems } from '../../src/monitor/checks/prerequisites.ts';
import { type Config, parseConfig } from '../../src/platform/config.ts';
import { connect } from '../../src/platform/postgres.ts';
import { run } from '../support/command.ts';
import { clinicForAll, type Patient } from '../support/doctor-clinic.ts';
import { type Fault, faultsIn, T, withFault } from '../support/doctor-faults.ts';

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

const open = clinicForAll({ max_prepared_transactions: '5' });

describe('a healthy database', () => {
  test('has no faults, and the agent may start', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner(T, 'alter table public.t replica identity full');
    assert.deepEqual(await patient.findings(), []);
    await using client = await connect(patient.url, { applicationName: 'syncline test' });
    assert.deepEqual(await checkPrerequisites(client, patient.config), []);
  });

  test('is left as it is: everything is read in transactions that cannot write', async () => {
    await using patient = await open().clinic.admit();
    await patient.asOwner('create table public.t (id serial primary key, v text)');
    await using client = await connect(patient.url, { applicationName: 'syncline test' });
    await client.query('set default_transaction_read_only = on');
    const codes = (await findProblems(client, patient.config)).map(({ code }) => code);
    assert.deepEqual(codes, ['SYN-P029', 'SYN-P028', 'SYN-P025']);
    await readPortrait(client, patient.config);
  });

  test('that is empty is told so', async () => {
    await using patient = await open().clinic.admit();
    assert.deepEqual(
      (await patient.findings()).map(({ code, severity }) => [code, severity]),
      [['SYN-P030', 'warning']],
    );
  });
});

describe('what needs nothing', () => {
  for (const fault of NOTICES) {
    test(fault.name, async () => {
      await using patient = await withFault(open().clinic, fault);
      const found = await patient.findings();
      assert.deepEqual(faultsIn(found), []);
      const [mine] = found.filter((each) => each.code === fault.code);
      assert.equal(mine?.severity, 'info');
      assert.match(mine?.what ?? '', fault.what ?? /./);
      assert.match(mine?.fix ?? '', /^-- none is needed[^\n]*$/);
    });
  }
});

test('another replication origin needs nothing, and is named', async () => {
  await using patient = await open().clinic.admit();
  await patient.asOwner(T);
  // All databases of a server have the same origins.
  await using made = new AsyncDisposableStack();
  await patient.asSuperuser("select pg_replication_origin_create('other_tool_$me')");
  made.defer(async () => await patient.asSuperuser("select pg_replication_origin_drop('other_tool_$me')"));
  const found = await patient.findings();
  assert.deepEqual(faultsIn(found), []);
  const [mine] = found.filter(({ code }) => code === 'SYN-P034');
  assert.equal(mine?.severity, 'info');
  assert.match(mine?.what ?? '', /: replication origins other_tool_\w+\.$/);
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
    await using patient = await open().clinic.admit();
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
    await using patient = await open().clinic.admit();
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
    await using patient = await open().clinic.admit();
    const file = join(folder, 'file');
    await writeFile(file, '');
    const config = await region(patient);
    for (const path of [file, join(file, 'below')]) {
      const [finding] = await examine(withFolder(config, path));
      assert.deepEqual([finding?.code, finding?.severity], ['SYN-L002', 'error']);
    }
    assert.deepEqual(await examine(withFolder(config, join(folder, 'new', 'log'))), []);
  });

  test('prints how the folder of the log is made, also for a user without a name', async () => {
    await using patient = await open().clinic.admit();
    const config = await region(patient);
    const file = join(folder, "Eve's file");
    await writeFile(file, '');
    const nameless = mock.method(os, 'userInfo', () => {
      throw new Error('no such user');
    });
    syncBuiltinESMExports();
    const [finding] = await examine(withFolder(config, file)).finally(() => {
      nameless.mock.restore();
      syncBuiltinESMExports();
    });
    const command = finding?.fix.split('\n', 1)[0]?.replace('# as root: ', '') ?? '';
    const { stdout } = await promisify(execFile)('sh', ['-c', `printf '%s\\n' ${command}`]);
    assert.deepEqual(stdout.trimEnd().split('\n'), ['install', '-d', '-o', String(process.getuid?.()), file]);
  });

  test('tells an address that is taken, by whom, and a free one', async () => {
    await using patient = await open().clinic.admit();
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
    await using patient = await open().clinic.admit();
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

/** The configuration with another folder of the log. */
function withFolder(config: Config, path: string): Config {
  return { ...config, log: { type: 'embedded', path, max_bytes: 10 * 1024 ** 3, keep_hours: 24 } };
}
