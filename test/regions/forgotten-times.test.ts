/**
 * Rows whose commit timestamps PostgreSQL has forgotten, as it does once every database is frozen beyond them: whoever is
 * away for that long comes back with events that can be older than such a row.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { linkFrom, setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { freezeEverything } from '../support/forgotten.ts';
import { waitFor } from '../support/wait-for.ts';

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: `create table t (id int primary key, v text not null);
      create table claims (id int primary key, u text unique)`,
  });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

test('an event that may be older than a row of which the time is forgotten waits, and is told of', async () => {
  const [eu, us] = [cluster.region('eu'), cluster.region('us')];
  await eu.sql(`insert into t values (1, 'first'), (2, 'first')`);
  await cluster.settle();
  await apart(eu, us, `update t set v = 'older' where id = 1`, `update t set v = 'newer' where id = 1`);
  await waitFor(async () => (await linkFrom('us', eu)).reason?.code === 'SYN-A011', { what: 'the link to say so' });
  assert.equal(await eu.one('select v from t where id = 1'), 'newer');
  await waitFor(async () => (await us.one('select v from t where id = 1')) === 'newer', { what: 'us to have it' });

  // Its remedy.
  await eu.sql('update t set v = v where id = 1');
  await cluster.settle();
  await waitFor(async () => (await linkFrom('us', eu)).reason === null, { what: 'the link to say so no more' });
  assert.deepEqual(await cluster.equal('select * from t order by id'), [
    ['1', 'newer'],
    ['2', 'first'],
  ]);
});

test('so does a TRUNCATE, which would take rows that came after it', async () => {
  const [eu, us] = [cluster.region('eu'), cluster.region('us')];
  await apart(eu, us, 'truncate t', `insert into t values (3, 'newer')`);
  await waitFor(async () => (await linkFrom('us', eu)).reason?.code === 'SYN-A011', { what: 'the link to say so' });
  assert.equal(await eu.one('select v from t where id = 3'), 'newer');

  await eu.sql('update t set v = v where id = 3');
  await eu.sql('delete from t where id <> 3');
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select * from t order by id'), [['3', 'newer']]);
});

test('so does an event that would take a value from such a row', async () => {
  const [eu, us] = [cluster.region('eu'), cluster.region('us')];
  await eu.sql(`insert into claims values (1, 'a'), (2, 'b')`);
  await cluster.settle();
  await apart(eu, us, `insert into claims values (3, 'x')`, `update claims set u = 'x' where id = 2`, 'claims');
  await waitFor(async () => (await linkFrom('us', eu)).reason?.code === 'SYN-A011', { what: 'the link to say so' });
  assert.deepEqual(await eu.sql('select * from claims order by id'), [
    ['1', 'a'],
    ['2', 'x'],
  ]);

  await eu.sql('update claims set u = u where id = 2');
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select * from claims order by id'), [
    ['1', 'a'],
    ['2', 'x'],
  ]);
  assert.deepEqual(await cluster.equal('select key from syncline.parked'), [['["3"]']]);
});

/** Writes in the second region, then in the first, which forgets all times before the two hear of each other. */
async function apart(eu: ClusterRegion, us: ClusterRegion, older: string, newer: string, table = 't'): Promise<void> {
  await setLink('us', eu, 'paused');
  await us.sql(older);
  const writtenAt = await us.one('select clock_timestamp()');
  await setLink('eu', us, 'paused');
  await eu.sql(newer);
  // The slot holds it back until the stream has gone on.
  await waitFor(
    async () => {
      await freezeEverything(eu.server);
      return (await eu.one(`select count(pg_xact_commit_timestamp(xmin)) from ${table}`)) === '0';
    },
    { what: 'the times of all rows to be forgotten' },
  );
  // No server forgets what is as young as that, but for one that is told to.
  const isOld = `select clock_timestamp() > '${writtenAt}'::timestamptz + interval '3 seconds'`;
  await waitFor(async () => (await eu.one(isOld)) === 't', { what: 'the event to be old' });
  await setLink('us', eu, 'active');
  await setLink('eu', us, 'active');
}
