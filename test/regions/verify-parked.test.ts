// What `verify` says of rows that are parked: they belong to their tables, in every region.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { loadConfig } from '../../src/platform/config.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { verifyRegions } from '../../src/verify/verify-regions.ts';
import { exitCodeOf, renderReport } from '../../src/verify/verify-report.ts';
import { setLink } from '../support/agent-client.ts';
import { Cluster } from '../support/cluster.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { NAMES, Regions, tableOf } from '../support/verified-regions.ts';

// Two versions, so that texts and digests of both are compared; each test has databases of its own.
let servers: PostgresServer[] = [];

before(async () => {
  servers = await Promise.all([PostgresServer.start({ version: 18 }), PostgresServer.start({ version: 15 })]);
});
after(async () => {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

const USERS = 'create table public.users (id int primary key, email text unique)';

/** As apply parks a row; whatever else there is of it is each region's own. */
function parked(image: Readonly<Record<string, string | null>>, hlc = 7_000, origin = 'there'): string {
  const key = JSON.stringify([image.id]);
  const row = JSON.stringify(image);
  return `insert into syncline.parked
    (parked_id, schema_name, table_name, key, row_pk, image, hlc, origin, position, event_id, blocker)
    values (gen_random_uuid(), 'public', 'users', '${key}', '{}', '${row}', ${hlc}, '${origin}',
      (random() * 1000)::text, gen_random_uuid(), random()::text)`;
}

/** Databases as agents have set them up, each with the table. */
async function startParking(): Promise<Regions> {
  const regions = await Regions.start(servers, 2);
  await Promise.all(regions.clients.map(async (client) => await migrate(client)));
  await regions.all(USERS);
  return regions;
}

describe('verify of parked rows', () => {
  test('is content where they are the same everywhere, and counts them', async () => {
    await using regions = await startParking();
    await regions.in('here', parked({ id: '1', email: 'a' }));
    await regions.in('there', parked({ email: 'a', id: '1' }));
    await regions.all(parked({ id: '2', email: null }, 0, ''));
    const report = await regions.verify();
    const nothing = { settled: 0, differing: 0, differences: [], in_flight: [] };
    assert.deepEqual(tableOf(report, 'public.users').parked, { rows: { here: 2, there: 2 }, ...nothing });
    assert.equal(exitCodeOf(report), 0);
    assert.match(renderReport(report), /public\.users {2}equal {10}.*\(2 parked\)\n/);
  });

  test('finds one that is parked in one region alone, in whatever table, among many', async () => {
    await using regions = await startParking();
    const name = `"It's ""odd""\\"`;
    await regions.all(`create table public.${name} (a text, b int, u int unique, primary key (b, a));
      create table public.many (id int primary key, u int unique);
      insert into syncline.parked
        (parked_id, schema_name, table_name, key, row_pk, image, hlc, origin, blocker)
      select gen_random_uuid(), 'public', 'many', format('["%s"]', i), '{}', json_build_object('id', i::text, 'u', '1'), i,
        'here', '' from generate_series(1, 20000) i`);
    await regions.in('there', "delete from syncline.parked where table_name = 'many' and hlc = 12345");
    await regions.in(
      'there',
      `insert into syncline.parked (parked_id, schema_name, table_name, key, row_pk, image, hlc, origin, blocker)
       values (gen_random_uuid(), 'public', 'It''s "odd"\\', '["1","x"]', '{}', '{"a":"x","b":"1","u":"9"}', 5, 'there', '')`,
    );
    const report = await regions.verify();
    const many = tableOf(report, 'public.many');
    assert.deepEqual(many.parked.differences, [
      {
        key: { id: '12345' },
        kind: 'missing',
        regions: { here: { hlc: '12345', origin: 'here', row: {} }, there: null },
      },
    ]);
    assert.deepEqual(many.parked.rows, { here: 20_000, there: 19_999 });
    assert.deepEqual([many.status, many.differing], ['different', 0]);
    const odd = tableOf(report, `public.It's "odd"\\`).parked;
    assert.deepEqual(
      odd.differences.map(({ key, regions: of }) => [key, of]),
      [
        [
          { b: '1', a: 'x' },
          { here: null, there: { hlc: '5', origin: 'there', row: {} } },
        ],
      ],
    );
    assert.equal(tableOf(report, 'public.users').status, 'equal');
    assert.equal(exitCodeOf(report), 1);
    const rendered = renderReport(report);
    assert.match(rendered, /SYN-V001 2 parked rows differ\n/);
    assert.match(
      rendered,
      / {2}parked row id = '12345'\n {4}here: parked with version 12345 here\n {4}there: not parked\n/,
    );
    const narrowed = await regions.verify({ tables: ['public.users'] });
    assert.equal(exitCodeOf(narrowed), 0, 'what is parked of other tables does not count');
  });

  test('finds one that is parked with another version, or another row', async () => {
    await using regions = await startParking();
    await regions.in('here', parked({ id: '1', email: 'a' }, 8_000));
    await regions.in('there', parked({ id: '1', email: 'a' }, 9_000));
    await regions.in('here', parked({ id: '2', email: 'b' }));
    await regions.in('there', parked({ id: '2', email: null }));
    const report = await regions.verify();
    assert.deepEqual(tableOf(report, 'public.users').parked.differences, [
      {
        key: { id: '1' },
        kind: 'different',
        regions: {
          here: { hlc: '8000', origin: 'there', row: {} },
          there: { hlc: '9000', origin: 'there', row: {} },
        },
      },
      {
        key: { id: '2' },
        kind: 'different',
        regions: {
          here: { hlc: '7000', origin: 'there', row: { email: 'b' } },
          there: { hlc: '7000', origin: 'there', row: { email: null } },
        },
      },
    ]);
    assert.equal(exitCodeOf(report), 1);
    assert.match(renderReport(report), /here: parked with version 7000 there, email = 'b'\n.*, email = NULL\n/);
  });

  test('takes a database without Syncline for one that has parked nothing', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all(USERS);
    assert.equal((await regions.verify()).equal, true);
    await migrate(regions.clients[0] as NonNullable<(typeof regions.clients)[0]>);
    const none = tableOf(await regions.verify(), 'public.users');
    assert.deepEqual([none.status, none.parked.rows], ['equal', { here: 0, there: 0 }]);
    await regions.in('here', parked({ id: '1', email: 'a' }));
    const report = await regions.verify();
    assert.deepEqual(tableOf(report, 'public.users').parked.rows, { here: 1, there: 0 });
    assert.equal(exitCodeOf(report), 1);
  });

  test('waits for those that are in flight', async () => {
    await using regions = await startParking();
    await regions.in('here', parked({ id: '1', email: 'a' }));
    let looks = 0;
    let arriving: Promise<void> | undefined;
    const report = await regions.verify({
      // Long enough for any machine: it ends as soon as they are equal.
      settleMs: 120_000,
      onProgress: ({ unsettled }) => {
        if (unsettled > 0) looks += 1;
        if (looks > 1) arriving ??= regions.in('there', parked({ id: '1', email: 'a' }));
      },
    });
    await arriving;
    const users = tableOf(report, 'public.users');
    assert.deepEqual([users.status, users.parked.settled], ['equal', 1]);
    assert.deepEqual(users.parked.rows, { here: 1, there: 0 }, 'one was not there at first');
    assert.match(renderReport(report), /1 parked row was in flight and settled/);
  });

  test('says what goes on for ever to change, and tells it from differences', async () => {
    await using regions = await startParking();
    await regions.all(parked({ id: '1', email: 'a' }));
    await regions.in('there', 'update syncline.parked set hlc = hlc + 1');
    let changing = Promise.resolve();
    const report = await regions.verify({
      settleMs: 2_000,
      giveUpMs: 4_000,
      onProgress: () => {
        changing = changing.then(() => regions.in('there', 'update syncline.parked set hlc = hlc + 1'));
      },
    });
    await changing;
    const users = tableOf(report, 'public.users');
    assert.deepEqual(users.parked.in_flight, [{ key: { id: '1' }, changed_in: ['there'] }]);
    assert.equal(exitCodeOf(report), 2);
    assert.match(renderReport(report), /SYN-V003 1 row was still changing at the limit/);
  });

  test('compares all other rows for a role that may not see them, and says so', async () => {
    await using regions = await startParking();
    const role = { user: `reader_${Math.random().toString(36).slice(2)}`, password: 'reader' };
    await regions.all(`create role ${role.user} login password '${role.password}';
      grant select on public.users to ${role.user}`);
    const asReader = async () => {
      const urls = regions.urls.map((url) => Object.assign(new URL(url), { username: role.user, password: 'reader' }));
      const tables = { include: ['public.*'], exclude: [] };
      const named = urls.map((url, index) => ({ region: NAMES[index] ?? '', url: url.href, tables }));
      return await verifyRegions({ regions: named, settleMs: 100 });
    };
    for (const grant of ['', `grant usage on schema syncline to ${role.user}`]) {
      if (grant !== '') await regions.all(grant);
      const users = tableOf(await asReader(), 'public.users');
      assert.deepEqual([users.status, users.problem?.code], ['not-compared', 'SYN-V005']);
      assert.match(users.problem?.detail ?? '', /^the role may not read syncline\.parked in (here|there)$/);
    }
    await regions.in('there', "insert into public.users values (1, 'only there')");
    const report = await asReader();
    assert.equal(tableOf(report, 'public.users').differing, 1);
    assert.equal(exitCodeOf(report), 1);
    assert.match(renderReport(report), /SYN-V005 the role may not read/);
    await regions.in('there', 'delete from public.users');
    await regions.all(`grant select on syncline.parked to ${role.user}`);
    assert.equal((await asReader()).equal, true);
  });

  test('as the agent does, of what agents have parked', async () => {
    await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: USERS, role: 'plain' });
    const [eu, us] = [cluster.region('eu'), cluster.region('us')];
    await setLink('us', eu, 'paused');
    await setLink('eu', us, 'paused');
    await eu.sql("insert into users values (1, 'same')");
    await us.sql("insert into users values (2, 'same')");
    await setLink('us', eu, 'active');
    await setLink('eu', us, 'active');
    await cluster.settle();
    const configs = await Promise.all([eu, us].map(async ({ configPath }) => await loadConfig(configPath)));
    const named = configs.map(({ region, database, tables }) => ({ region, url: database, tables }));
    const report = await verifyRegions({ regions: named });
    assert.equal(report.equal, true, renderReport(report));
    const users = tableOf(report, 'public.users');
    assert.deepEqual([Math.max(...Object.values(users.parked.rows)), users.differing], [1, 0]);
  });
});
