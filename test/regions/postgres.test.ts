import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { replicaGrant } from '../../src/monitor/checks/role-checks.ts';
import { arrayText, connect, type PostgresClient, quoteLiteral } from '../../src/platform/postgres.ts';
import { writeAsReplica } from '../../src/platform/replica-role.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
let url: string;
const options = { applicationName: 'syncline test' };

before(async () => {
  server = await PostgresServer.start();
  url = server.url(await server.createDatabase());
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

async function value(client: PostgresClient, sql: string, values: (string | null)[] = []): Promise<unknown> {
  return (await client.queryArrays(sql, values)).rows[0]?.[0];
}

describe('values', () => {
  test('come back as the text of the server, whatever the role and the URL say', async () => {
    await using admin = await connect(url, options);
    await admin.query("create role odd login superuser password 'odd'");
    await admin.query("alter role odd set datestyle = 'German'");
    await admin.query("alter role odd set timezone = 'Asia/Tokyo'");
    await admin.query("alter role odd set client_encoding = 'LATIN1'");
    const odd = new URL(url);
    odd.username = 'odd';
    odd.password = 'odd';
    odd.searchParams.set('options', '-c extra_float_digits=-3 -c bytea_output=escape -c search_path=public');
    odd.searchParams.set('application_name', 'else');
    await using client = await connect(odd.href, options);
    const cases = [
      ["'2024-02-03 04:05:06.123456+00'::timestamptz", '2024-02-03 04:05:06.123456+00'],
      ["'2024-02-03'::date", '2024-02-03'],
      ["interval '1 day 2 h'", '1 day 02:00:00'],
      ['0.1::float8 + 0.2::float8', '0.30000000000000004'],
      ["'\\x00ff'::bytea", '\\x00ff'],
      ['9223372036854775807', '9223372036854775807'],
      ['1.50::numeric', '1.50'],
      ['true', 't'],
      ['\'{"a":  1}\'::json', '{"a":  1}'],
      ["array['a b', null]", '{"a b",NULL}'],
      ["'Zoë 語'::text", 'Zoë 語'],
      ["current_setting('search_path')", 'pg_catalog'],
      ["current_setting('application_name')", 'syncline test'],
      ["current_setting('session_replication_role')", 'origin'],
    ] as const;
    for (const [sql, text] of cases) assert.equal(await value(client, `select ${sql}`), text, sql);
  });

  test('go in as text: literals, parameters and arrays keep every character', async () => {
    await using client = await connect(url, { ...options, role: 'apply' });
    const texts = ['', ' ', 'NULL', "it's", 'a"b', 'a\\b', '{x,y}', 'Zoë 語 🎉', '\u0001\t\r\n', '\\N'];
    for (const text of texts) {
      assert.equal(await value(client, `select ${quoteLiteral(text)}`), text);
      assert.equal(await value(client, 'select $1::text', [text]), text);
    }
    const { rows } = await client.query('select t from unnest($1::text[]) as t', [arrayText([...texts, null])]);
    assert.deepEqual(
      rows.map((row) => row.t),
      [...texts, null],
    );
    assert.equal(await value(client, "select current_setting('session_replication_role')"), 'replica');
  });
});

describe('transactions in a pipeline', () => {
  test('statements sent together are answered in order, and the tag of COMMIT decides', async () => {
    await using client = await connect(url, options);
    await client.query('create table public.t (id int primary key)');
    const results = await client.transaction(() =>
      Promise.all(
        [1, 2, 3].map((id) => client.query('insert into public.t values ($1)', [String(id)], { prepare: true })),
      ),
    );
    assert.deepEqual(
      results.map(({ command, rowCount }) => [command, rowCount]),
      [
        ['INSERT', 1],
        ['INSERT', 1],
        ['INSERT', 1],
      ],
    );

    await client.query('begin');
    const failed = assert.rejects(client.query('insert into public.t values (1)'), { code: '23505' });
    const after = assert.rejects(client.query('insert into public.t values (4)'), { code: '25P02' });
    await assert.rejects(client.commit(), { code: 'SYN-A002' });
    await Promise.all([failed, after]);
    assert.equal(await value(client, 'select count(*) from public.t'), '3');
  });

  test('a transaction whose work fails is rolled back and the connection goes on', async () => {
    await using client = await connect(url, options);
    const work = async (): Promise<void> => {
      await client.query('create table public.never (id int)');
      throw new Error('changed my mind');
    };
    await assert.rejects(client.transaction(work), /changed my mind/);
    assert.equal(await value(client, "select to_regclass('public.never')"), null);
  });

  test('prepared statements survive a rollback and can be forgotten after DDL', async () => {
    await using client = await connect(url, options);
    await client.query('create table public.p (id int)');
    const read = async (): Promise<number> =>
      Object.keys((await client.query('select * from public.p', [], { prepare: true })).rows[0] ?? {}).length;
    await client.query('insert into public.p values (1)');
    assert.equal(await read(), 1);
    await client.query('alter table public.p add column b int');
    await assert.rejects(read(), { code: '0A000' });
    await client.forgetPrepared();
    assert.equal(await read(), 2);
  });

  test('what is no text is refused before anything is sent', async () => {
    await using client = await connect(url, options);
    await assert.rejects(client.query('select $1', [1 as unknown as string]), { name: 'InvariantViolation' });
    assert.equal(await value(client, 'select 1'), '1');
  });
});

describe('failures', () => {
  test('of a connect have codes', async () => {
    const wrong = (change: (url: URL) => void): string => {
      const changed = new URL(url);
      change(changed);
      return changed.href;
    };
    const cases: [string, string][] = [
      [wrong((each) => (each.password = 'wrong')), 'SYN-P008'],
      [wrong((each) => (each.password = '')), 'SYN-P008'],
      [wrong((each) => (each.username = 'nobody_of_that_name')), 'SYN-P008'],
      [wrong((each) => (each.pathname = '/nowhere')), 'SYN-P010'],
      [wrong((each) => (each.port = '1')), 'SYN-P009'],
      ['postgres://[', 'SYN-C004'],
    ];
    for (const [bad, code] of cases) await assert.rejects(connect(bad, options), { code }, code);
    await using admin = await connect(url, options);
    await admin.query("create role plain login password 'plain'");
    const plain = wrong((each) => {
      each.username = 'plain';
      each.password = 'plain';
    });
    await assert.rejects(connect(plain, { ...options, role: 'apply' }), { code: 'SYN-P005' });
  });

  test('a function of a superuser lets one role write as a replica, for as long as it asks, and no other', async () => {
    await using admin = await connect(url, options);
    const { rows } = await admin.query('select current_database() as database');
    const as = async (name: string, password: string): Promise<string> => {
      await admin.query(`create role ${name} login password '${password}'`);
      const theirs = new URL(url);
      theirs.username = name;
      theirs.password = password;
      return theirs.href;
    };
    const [ours, other] = [await as('ours', 'ours'), await as('other', 'other')];
    // What doctor prints on PostgreSQL 14 works on every version.
    const grant = replicaGrant({ name: 'ours', version_num: 140_000, database: rows[0]?.database ?? '' });
    for (const line of grant.split('\n')) if (!line.startsWith('--')) await admin.query(line);
    await using client = await connect(ours, options);
    const role = async (): Promise<unknown> => (await client.query('show session_replication_role')).rows;
    await client.transaction(async () => {
      await writeAsReplica(client, 'transaction');
      assert.deepEqual(await role(), [{ session_replication_role: 'replica' }]);
    });
    assert.deepEqual(await role(), [{ session_replication_role: 'origin' }]);
    await writeAsReplica(client, 'session');
    assert.deepEqual(await role(), [{ session_replication_role: 'replica' }]);
    await using apply = await connect(ours, { ...options, role: 'apply' });
    assert.deepEqual((await apply.query('show session_replication_role')).rows, await role());
    await admin.query('grant usage on schema syncline to other');
    await assert.rejects(connect(other, { ...options, role: 'apply' }), { code: 'SYN-P005' });
    await using theirs = await connect(other, options);
    await assert.rejects(theirs.query('select syncline.write_as_replica(false)'), { code: '42501' });
  });

  test('a lost connection fails what is in flight and aborts `lost`', async () => {
    await using proxy = await TcpProxy.start(server);
    for (const cut of [async () => proxy.cut(), () => proxy.refuse()]) {
      await using client = await connect(proxy.url(url), options);
      const inFlight = [1, 2].map(() => assert.rejects(client.query('select pg_sleep(60)'), { code: 'SYN-P009' }));
      await cut();
      await Promise.all(inFlight);
      assert.equal(client.lost.aborted, true);
      await assert.rejects(client.query('select 1'), { code: 'SYN-P009' });
    }
    await assert.rejects(connect(proxy.url(url), options), { code: 'SYN-P009' });
    await proxy.heal();
    await using client = await connect(proxy.url(url), options);
    assert.equal(await value(client, 'select 1'), '1');
  });

  test('an idle connection that the server ends is noticed', async () => {
    await using client = await connect(url, options);
    await using admin = await connect(url, options);
    await admin.query('select pg_terminate_backend($1)', [String(client.processId)]);
    await waitFor(() => client.lost.aborted, { what: 'the loss is noticed' });
  });

  test('a black hole ends the connect at its limit, and delivers what it held once healed', async () => {
    await using proxy = await TcpProxy.start(server);
    await using client = await connect(proxy.url(url), options);
    proxy.blackHole();
    await assert.rejects(connect(proxy.url(url), { ...options, connectTimeoutMs: 50 }), { code: 'SYN-P009' });
    const answer = value(client, 'select 1');
    await proxy.heal();
    assert.equal(await answer, '1');
  });

  test('a signal cuts a connection, also while it is made or was only to be made', async () => {
    await using proxy = await TcpProxy.start(server);
    const abort = new AbortController();
    const { signal } = abort;
    await using made = await connect(proxy.url(url), { ...options, signal });
    const asked = assert.rejects(made.query('select pg_sleep(60)'), { code: 'SYN-P009' });
    proxy.blackHole();
    const making = assert.rejects(connect(proxy.url(url), { ...options, signal }), { code: 'SYN-P009' });
    abort.abort();
    await Promise.all([asked, making]);
    assert.equal(made.lost.aborted, true);
    await assert.rejects(connect(url, { ...options, signal }), { code: 'SYN-P009' });
  });

  test('end() waits for what is in flight, and does not wait for ever', async () => {
    await using proxy = await TcpProxy.start(server);
    const graceful = await connect(proxy.url(url), options);
    const answer = value(graceful, 'select 1');
    await graceful.end();
    assert.equal(await answer, '1');
    const stuck = await connect(proxy.url(url), options);
    proxy.blackHole();
    const failed = assert.rejects(stuck.query('select 1'), { code: 'SYN-P009' });
    await stuck.end();
    await failed;
  });
});
