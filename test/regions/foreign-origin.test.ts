/**
 * Another tool writes to a region under a replication origin of its own, with commit timestamps of its own: long ago, far
 * ahead, or no time at all. What it writes is a local write like any other, and its timestamps count for nothing.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const TOOL = 'another_tool';
const TIMES = ['2001-01-01', '1066-10-14', '2126-01-01', 'infinity', '-infinity'];

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;

before(async () => {
  cluster = await Cluster.start({
    schema: 'create table item (id int primary key, v text)',
    config: 'capture: { heartbeat_ms: 100 }',
  });
  [eu, us] = [cluster.region('eu'), cluster.region('us')];
  await eu.sql(`select pg_replication_origin_create('${TOOL}')`);
  // The agent decodes what carries origins from the next session on.
  await asTool('2001-01-01', ["insert into item values (0, 'first')"]);
  await waitFor(async () => (await us.one('select v from item where id = 0')) === 'first', { what: 'the first row' });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

beforeEach(async () => {
  await eu.sql('delete from item');
  await cluster.settle();
});

/** Runs statements in one transaction of the tool, which sets its commit timestamp. */
async function asTool(time: string | null, statements: readonly string[]): Promise<void> {
  const session = await eu.session();
  await session.query('select pg_replication_origin_session_setup($1)', [TOOL]);
  await session.query('begin');
  // A tool that sets none leaves that to the server, and the WAL then tells another time than the row does.
  if (time !== null) await session.query(`select pg_replication_origin_xact_setup('0/1', '${time}')`);
  for (const statement of statements) await session.query(statement);
  await session.query('commit');
  await session.end();
}

const value = async (): Promise<string | null> =>
  (await cluster.equal('select v from item where id = 1'))[0]?.[0] ?? null;

for (const time of [...TIMES, null]) {
  test(`${time ?? 'the time of the server'}: a write that saw the tool's is later, and so is the tool's after it`, async () => {
    await us.sql("insert into item values (1, 'us before')");
    await cluster.settle();
    await asTool(time, ["update item set v = 'tool' where id = 1", 'savepoint s', "update item set v = 'tool 2'"]);
    await cluster.settle();
    assert.equal(await value(), 'tool 2');
    await us.sql("update item set v = 'us after' where id = 1");
    await cluster.settle();
    assert.equal(await value(), 'us after');
    await asTool(time, ['delete from item where id = 1']);
    await cluster.settle();
    assert.equal(await value(), null);
    await asTool(time, ["insert into item values (1, 'tool again')"]);
    await asTool(time, ["update item set v = 'tool last' where id = 1"]);
    await eu.sql("update item set v = v || ', eu' where id = 1");
    await cluster.settle();
    assert.equal(await value(), 'tool last, eu');
  });
}

test('what the tool wrote does not hold off what others write at once', async () => {
  for (let round = 1; round <= 20; round += 1) {
    const time = TIMES[round % TIMES.length] ?? 'infinity';
    await Promise.all([
      asTool(time, ["insert into item values (1, 'tool') on conflict (id) do update set v = 'tool'"]),
      us.sql(`insert into item values (1, 'us ${round}') on conflict (id) do update set v = 'us ${round}'`),
      round % 3 === 0 ? us.sql('delete from item where id = 1') : us.sql('select 1'),
    ]);
    await cluster.settle();
    await value();
  }
});
