import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../platform/config.ts';
import type { PostgresClient } from '../../platform/postgres.ts';
import { checkServer } from './server-checks.ts';

const HEALTHY = {
  version_num: 180_004,
  version: '18.4',
  in_recovery: false,
  wal_level: 'logical',
  track_commit_timestamp: 'on',
  encoding: 'UTF8',
  slots_max: 10,
  slots_used: 0,
  senders_max: 10,
  senders_used: 0,
  origins_max: 10,
  origins_used: 0,
  sender_timeout_ms: 60_000,
  slot_wal_keep_mb: -1,
  idle_slot_timeout: '0',
  idle_slot_timeout_set: false,
  standbys_away: [] as readonly string[],
};

const config = parseConfig('{ region: eu, database: "postgres://x/y", peers: [{ region: us }, { region: ap }] }', {});

async function codes(server: Partial<typeof HEALTHY>): Promise<string[]> {
  const row = [JSON.stringify({ ...HEALTHY, ...server })];
  const client = { queryArrays: async () => ({ rows: [row] }) } as unknown as PostgresClient;
  return (await checkServer(client, config)).map(({ code, what }) => `${code} ${what}`);
}

test('versions 14 to 18 are supported, and no other', async () => {
  for (const version_num of [140_000, 149_999, 159_999, 180_000, 189_999]) {
    assert.deepEqual(await codes({ version_num }), []);
  }
  for (const version_num of [130_018, 190_000]) {
    assert.deepEqual(await codes({ version_num, version: 'x' }), ['SYN-P007 The server is PostgreSQL x.']);
  }
});

test('a region needs an origin for each peer and for itself', async () => {
  assert.deepEqual(await codes({ origins_max: 3 }), []);
  assert.deepEqual(await codes({ origins_max: 3, origins_used: 1 }), [
    'SYN-P003 Replication origins: others use 1 of 3, and this region needs 3.',
  ]);
});

test('standbys that capture has to wait for and that are away are named', async () => {
  assert.deepEqual(await codes({ standbys_away: ['one', 'two'] }), [
    'SYN-P055 synchronized_standby_slots names one, two, which no standby uses.',
  ]);
});
