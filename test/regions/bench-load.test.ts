import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ACCOUNTS_SCHEMA, type Load, runLoad } from '../../bench/load.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { tpcbSchema } from '../support/tpcb.ts';

const SCALE = 6;

let server: PostgresServer;
let client: PostgresClient;
let load: Load;
before(async () => {
  server = await PostgresServer.start();
  const url = server.url(await server.createDatabase());
  client = await connect(url, { applicationName: 'test' });
  await client.query(`set search_path = public, pg_catalog; ${ACCOUNTS_SCHEMA}; ${tpcbSchema(SCALE)}`);
  load = { url, clients: 3, seconds: 1, seed: 1, rate: 60, tpcb: null };
});
after(async () => {
  await client?.end();
  await server?.stop('immediate');
});

test('a load at a rate makes every transaction that is due, late or not', async () => {
  const { transactions, failures } = await runLoad(load);
  assert.deepEqual({ transactions, failures }, { transactions: 61, failures: {} });
  const { rows } = await client.query('select count(*) from accounts where abalance <> 0');
  assert.ok(Number(rows[0]?.count) > 1);
});

test('TPC-B on parts takes its own rows, and those that all take', async () => {
  const part = { scale: SCALE, place: 1, of: 2, sharedPercent: 50 };
  const { transactions } = await runLoad({ ...load, tpcb: { region: 'eu', part } });
  const { rows } = await client.query(
    'select distinct bid % 3 as share, aid % 3 as of_account from pgbench_history order by 1',
  );
  // Branches of place 1 leave 2, and the shared ones 0; the first region's, which leave 1, are not touched.
  const shares = rows.map(({ share, of_account }) => [share, of_account]);
  assert.deepEqual(shares, [
    ['0', '0'],
    ['2', '2'],
  ]);
  const history = await client.query('select count(*) from pgbench_history');
  assert.equal(history.rows[0]?.count, String(transactions));
});

test('a load that cannot connect fails its caller', async () => {
  await assert.rejects(runLoad({ ...load, url: server.url('absent') }), /ended: .*SYN-P010/s);
});
