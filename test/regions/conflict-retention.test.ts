/** The conflict log is kept within its bounds, oldest first, and what may still change stays. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dropOldConflicts } from '../../src/monitor/conflict-retention.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect } from '../../src/platform/postgres.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start();
});
after(async () => await server?.[Symbol.asyncDispose]());

test('records go by age and by number, in chunks', async () => {
  await using client = await connect(server.url(await server.createDatabase()), { applicationName: 'test' });
  await migrate(client);
  // Record n is n days old; every thousandth may still change, and one never will.
  await client.query(
    `insert into syncline.conflict_log (conflict_id, schema_name, table_name, row_pk, resolution_strategy, loser_hlc,
        loser_origin, winner_hlc, winner_origin, provisional, provisional_reason, resolved_at)
     select gen_random_uuid(), 'public', 't', '{"id":"1"}', 'lww', n, 'us', n + 1, 'eu', n % 1000 = 0,
            case when n = 9000 then 'forgotten' end, clock_timestamp() - interval '1 day' * n + interval '1 hour'
       from generate_series(1, 10000) n`,
  );
  const left = async (): Promise<unknown[]> => {
    const sql =
      'select count(*) as records, max(loser_hlc) filter (where not provisional) as oldest from syncline.conflict_log';
    const { rows } = await client.query(sql);
    return [Number(rows[0]?.records), Number(rows[0]?.oldest)];
  };
  assert.equal(await dropOldConflicts(client, { max_age_days: 10_000, max_records: 20_000 }), 0);
  // Of the 5,000 that are too old, four may still change.
  assert.equal(await dropOldConflicts(client, { max_age_days: 5_000, max_records: 20_000 }), 4_996);
  assert.deepEqual(await left(), [5_004, 4_999]);
  assert.equal(await dropOldConflicts(client, { max_age_days: 5_000, max_records: 1_004 }), 3_992);
  assert.deepEqual(await left(), [1_012, 1_004]);
});
