/**
 * What an operator is told when something is wrong: at the start by a failing exit code, later by /readyz and /status.
 *
 * Each fault is made for real, the agent is the real process, and each answer has to carry the code, what is concerned
 * by its name, and what to do; never a stack. What can be mended while the agent runs is mended, and it goes on.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ReplicationConnection } from '../../src/capture/stream/replication-connection.ts';
import { type ErrorCode, SynclineError } from '../../src/platform/errors.ts';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { assertSays, type Outcome, run, start } from '../support/command.ts';
import { Clinic, type Patient, revokeReplicaRole } from '../support/doctor-clinic.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'syncline-errors-'));
});
after(async () => await rm(folder, { recursive: true, force: true }));

let configs = 0;
async function startWith(settings: Readonly<Record<string, unknown>>): Promise<Outcome> {
  return await run(['agent', '-c', await configWith(settings)]);
}

async function configWith(settings: Readonly<Record<string, unknown>>): Promise<string> {
  configs += 1;
  const path = join(folder, `${configs}.yaml`);
  const config = {
    region: 'eu',
    log: { path: join(folder, 'log') },
    api: { listen: '127.0.0.1:0' },
    peers: [{ region: 'us' }],
    ...settings,
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

describe('an agent that cannot start', () => {
  let server: PostgresServer;
  let clinic: Clinic;
  before(async () => {
    server = await PostgresServer.start();
    clinic = await Clinic.open(server);
  });
  after(async () => {
    await clinic?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test('tells all problems of its configuration at once, each with its path', async () => {
    const outcome = await startWith({
      region: 'Not A Region',
      database: 'mysql://here',
      apply: { batch_rows: 3, on_error: 'ignore' },
      log: { path: join(folder, 'log'), max_bytes: 1 },
      peers: [{ region: 'us', api: 7 }],
    });
    const paths = ['region', 'database', 'apply.batch_rows', 'apply.on_error', 'log.max_bytes', 'peers[0].api'];
    assertSays(outcome, 'SYN-C004', ...paths.map((path) => ` ${path}: `));
    assert.ok(outcome.stderr.includes('SYN-C005 apply.batch_rows'), outcome.stderr);
  });

  test('tells a wrong password, and never the password', async () => {
    const url = new URL(server.url());
    url.password = 'not-the-password';
    const outcome = await startWith({ database: url.href });
    assertSays(outcome, 'SYN-P008', url.host);
    assert.doesNotMatch(outcome.stderr, /not-the-password/);
  });

  const privileges: readonly [string, ErrorCode, readonly string[], (patient: Patient) => readonly string[]][] = [
    ['REPLICATION', 'SYN-P004', ['alter role $me noreplication'], ({ name }) => [name]],
    [
      'session_replication_role',
      'SYN-P005',
      [revokeReplicaRole(DEFAULT_MAJOR)],
      ({ name }) => [name, 'session_replication_role'],
    ],
    [
      'the origin functions',
      'SYN-P006',
      ['revoke execute on function pg_replication_origin_create(text) from public'],
      ({ name }) => [name, 'pg_replication_origin_create'],
    ],
    ['a table', 'SYN-P011', ['create table public.bill (id int primary key)'], () => ['public.bill']],
  ];
  for (const [what, code, faults, names] of privileges) {
    test(`tells that its role lacks ${what}`, async () => {
      await using patient = await clinic.admit();
      await patient.asSuperuser(...faults);
      assertSays(await startWith({ database: patient.url }), code, ...names(patient));
    });
  }

  test('tells a server that keeps no logical WAL, or no commit timestamps', async () => {
    await using other = await PostgresServer.start({
      settings: { wal_level: 'replica', track_commit_timestamp: 'off' },
    });
    assertSays(await startWith({ database: other.url() }), 'SYN-P001', 'wal_level');
    await other.restart({ wal_level: 'logical' });
    assertSays(await startWith({ database: other.url() }), 'SYN-P002', 'track_commit_timestamp');
  });

  test('tells who holds its slot, where its role may not end that', async () => {
    await using patient = await clinic.admit();
    const config = await configWith({ database: patient.url });
    const first = start(['agent', '-c', config]);
    let printed = '';
    first.process.stdout?.on('data', (chunk: string) => {
      printed += chunk;
    });
    await waitFor(() => printed.includes('"streaming"'), { what: 'a first agent, which makes the slot' });
    first.process.kill('SIGTERM');
    assert.equal((await first.outcome).code, 0);
    const slot = 'syncline_eu';
    await using holder = await ReplicationConnection.connect({
      url: server.url(patient.name),
      applicationName: 'another tool',
    });
    await holder.start({ slot, publications: [slot] });
    assertSays(await run(['agent', '-c', config]), 'SYN-K004', slot, 'of postgres');
  });

  test('tells a log that cannot be written', async () => {
    const inTheWay = join(folder, 'a-file');
    await writeFile(inTheWay, '');
    const database = server.url(await server.createDatabase());
    assertSays(
      await startWith({ region: 'another', database, log: { path: join(inTheWay, 'log') } }),
      'SYN-L002',
      inTheWay,
    );
  });
});

describe('an agent that runs', () => {
  let cluster: Cluster;
  let eu: ClusterRegion;
  let us: ClusterRegion;
  before(async () => {
    cluster = await Cluster.start({
      regions: ['eu', 'us'],
      schema: 'create table item (id int primary key, v text)',
      agents: false,
    });
    eu = cluster.region('eu');
    us = cluster.region('us');
    await writeFile(
      eu.configPath,
      (await cluster.configOf('eu')).replace('embedded,', `embedded, max_bytes: ${LOG_BYTES_MAX},`),
    );
    await cluster.startAgents();
  });
  after(async () => await cluster?.[Symbol.asyncDispose]());

  /** Waits until the region tells this problem of its capture, in /status by name, and by code in /readyz. */
  async function captureTells(region: ClusterRegion, code: ErrorCode, ...names: readonly string[]): Promise<void> {
    const problem = await waitFor(
      async () => {
        const { capture } = await agentStatus(region);
        return capture.problem?.code === code ? capture.problem : undefined;
      },
      { what: `${region.name} to tell ${code}` },
    );
    for (const name of names) assert.ok(problem.detail.includes(name), `${name} is not named in ${problem.detail}`);
    await waitFor(
      async () => {
        const answer = await fetch(`${region.api}/readyz`);
        return answer.status === 503 && (await answer.text()).includes(code);
      },
      { what: `/readyz to tell ${code}` },
    );
    assert.equal((await fetch(`${region.api}/healthz`)).status, 200);
  }

  /** Everything works again, in both directions. */
  async function works(what: string): Promise<void> {
    for (const region of cluster.regions) {
      await region.agentReady();
      await region.sql(`insert into item (id, v) select coalesce(max(id), 0) + 1, '${what}' from item`);
      await cluster.settle();
    }
    await cluster.equal('select * from item order by id');
  }

  test('a second agent for the region is refused, and the first goes on unharmed', async () => {
    const pid = eu.agent?.pid;
    assertSays(await run(['agent', '-c', eu.configPath]), 'SYN-T006', `127.0.0.1:${eu.port}`);
    const path = join(folder, 'second.yaml');
    await writeFile(path, (await cluster.configOf('eu')).replace(`"127.0.0.1:${eu.port}"`, '"127.0.0.1:0"'));
    assertSays(await run(['agent', '-c', path]), 'SYN-K005', 'region eu', `pid ${pid}`);
    await works('the first');
    assert.equal(eu.agent?.pid, pid);
  });

  test('a table that loses its key stops capture, which goes on once the key is back', async () => {
    await eu.sql('alter table item drop constraint item_pkey');
    await captureTells(eu, 'SYN-K008', 'public.item');
    await eu.sql("update item set v = 'changed without a key' where id = 1");
    const told = await agentStatus(eu);
    assert.deepEqual([told.apply.state, told.ready], ['running', false]);
    await eu.sql('alter table item add primary key (id)');
    await works('with its key');
    assert.equal(await us.one('select v from item where id = 1'), 'changed without a key');
  });

  test('a slot that somebody else holds is told, and taken once it is free', async () => {
    const holder = await holdSlot(eu);
    await captureTells(eu, 'SYN-K004', 'syncline_eu');
    await eu.sql("insert into item values (200, 'while the slot was held')");
    await holder[Symbol.asyncDispose]();
    await works('with the slot back');
  });

  test('a log that is full holds capture up until the region that is away has read it', async () => {
    await us.stopAgent();
    for (let rows = 0; rows < 8; rows += 1) {
      await eu.sql(
        `insert into item select ${1_000 + rows * 100} + n, repeat(md5(n::text), 100) from generate_series(1, 99) as n`,
      );
    }
    await captureTells(eu, 'SYN-L007', '/eu/');
    us.startAgent();
    await us.agentReady();
    await works('with room again');
  });

  test('a database that is away when the agent starts is waited for', async () => {
    await us.stopAgent();
    await us.server.stop();
    us.output = '';
    us.startAgent();
    await waitFor(() => us.output.includes('SYN-P009'), { what: 'the agent to tell that it waits' });
    assert.equal((await fetch(`${us.api}/readyz`)).status, 503);
    await us.server.restart();
    await works('with its database');
  });

  test('a publication that is dropped stops capture', async () => {
    await us.sql('drop publication syncline_us');
    await captureTells(us, 'SYN-K002', 'syncline_us');
  });

  test('a slot that is dropped is made anew, which is told, and capture goes on behind it', async () => {
    await waitFor(async () => await dropSlot(eu), { what: 'the slot to be dropped' });
    await waitFor(async () => (await agentStatus(eu)).problems.some(({ code }) => code === 'SYN-K025'), {
      what: 'the agent to tell',
    });
    await eu.sql("insert into item (id, v) values (1000000, 'with a new slot')");
    await waitFor(async () => (await us.one('select v from item where id = 1000000')) === 'with a new slot', {
      what: 'the row to arrive',
    });
    assert.equal(eu.agent?.exitCode, null);
  });
});

const LOG_BYTES_MAX = 1024 ** 2;

/** Takes the slot away from the agent, and holds it until disposed of. */
async function holdSlot(region: ClusterRegion): Promise<AsyncDisposable> {
  const slot = `syncline_${region.name}`;
  return await waitFor(
    async () => {
      await region.sql(
        `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${slot}' and active`,
      );
      const connection = await ReplicationConnection.connect({ url: region.url, applicationName: 'another tool' });
      try {
        await connection.start({ slot, publications: [slot] });
        return connection;
      } catch (error) {
        await connection[Symbol.asyncDispose]();
        if (error instanceof SynclineError && error.code === 'SYN-K004') return undefined;
        throw error;
      }
    },
    { what: `another tool to hold ${slot}` },
  );
}

/** False where the agent was quick enough to hold it again. */
async function dropSlot(region: ClusterRegion): Promise<boolean> {
  const slot = `syncline_${region.name}`;
  await region.sql(
    `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${slot}' and active`,
  );
  return await region.sql(`select pg_drop_replication_slot('${slot}')`).then(
    () => true,
    () => false,
  );
}
