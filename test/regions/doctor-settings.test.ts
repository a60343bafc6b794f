// What doctor finds wrong with the settings of a server, and on an older one.

import assert from 'node:assert/strict';
import { chown, copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/monitor/checks/finding.ts';
import { findProblems } from '../../src/monitor/checks/prerequisites.ts';
import { connect } from '../../src/platform/postgres.ts';
import { Clinic, configFor, revokeReplicaRole } from '../support/doctor-clinic.ts';
import { faultsIn, T } from '../support/doctor-faults.ts';
import { CONTRACT_MAJORS, DEFAULT_MAJOR, ORIGINS_MAX } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
let clinic: Clinic;

before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off', max_prepared_transactions: '5' } });
  clinic = await Clinic.open(server);
});
after(async () => {
  await clinic[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

describe('settings that a reload changes', () => {
  const settings = [
    ['wal_sender_timeout', '0', 'SYN-P018', 'warning'],
    ['wal_sender_timeout', '500ms', 'SYN-P018', 'warning'],
    ['max_slot_wal_keep_size', '1GB', 'SYN-P019', 'warning'],
    ...(DEFAULT_MAJOR >= 17 ? ([['synchronized_standby_slots', '"nobody"', 'SYN-P055', 'error']] as const) : []),
    ...(DEFAULT_MAJOR >= 18 ? ([['idle_replication_slot_timeout', '1h', 'SYN-P019', 'warning']] as const) : []),
  ] as const;
  for (const [setting, value, code, severity] of settings) {
    test(`${setting} = ${value}`, async () => {
      await using patient = await clinic.admit();
      const codes = async (): Promise<string[]> => faultsIn(await patient.findings()).map((each) => each.code);
      await patient.asSuperuser(`alter system set ${setting} = '${value}'`, 'select pg_reload_conf()');
      const [finding] = await waitFor(async () => (await codes()).length > 0 && faultsIn(await patient.findings()), {
        what: 'the setting is in force',
      });
      assert.deepEqual([finding?.code, finding?.severity], [code, severity]);
      await patient.mend(finding?.fix ?? '');
      await waitFor(async () => (await codes()).length === 0, { what: 'the setting is mended' });
    });
  }
});

describe('settings that take a restart', () => {
  let small: PostgresServer;
  before(async () => {
    small = await PostgresServer.start({ settings: { fsync: 'off', max_wal_senders: '10' } });
  });
  after(async () => {
    await small[Symbol.asyncDispose]();
  });
  const findings = async (): Promise<Finding[]> => {
    await using client = await connect(small.url(), { applicationName: 'syncline test' });
    return faultsIn(await findProblems(client, configFor(small)));
  };
  const settings = [
    ['wal_level', 'replica', 'SYN-P001'],
    ['track_commit_timestamp', 'off', 'SYN-P002'],
    // Before 18 one setting bounds slots and origins.
    ['max_replication_slots', '0', 'SYN-P003', DEFAULT_MAJOR >= 18 ? 1 : 2],
    ['max_wal_senders', '0', 'SYN-P003'],
    ...(DEFAULT_MAJOR >= 18 ? ([[ORIGINS_MAX, '1', 'SYN-P003']] as const) : []),
  ] as const;
  for (const [setting, value, code, count = 1] of settings) {
    test(`${setting} = ${value}`, async () => {
      await small.restart({ [setting]: value });
      const found = await findings();
      assert.deepEqual(
        found.map((each) => [each.code, each.severity]),
        Array.from({ length: count }, () => [code, 'error']),
      );
      {
        await using client = await connect(small.url(), { applicationName: 'syncline test' });
        for (const line of found.flatMap(({ fix }) => fix.split('\n')))
          if (!line.startsWith('--')) await client.query(line);
      }
      await small.restart();
      assert.deepEqual(await findings(), []);
    });
  }

  test('a standby is refused', async () => {
    await small.stop();
    const signal = join(small.dataDirectory, 'standby.signal');
    await copyFile(join(small.dataDirectory, 'postgresql.auto.conf'), signal);
    const { uid, gid } = await stat(small.dataDirectory);
    await chown(signal, uid, gid);
    await small.restart();
    const codes = (await findings()).filter(({ severity }) => severity === 'error').map((each) => each.code);
    assert.deepEqual(codes, ['SYN-P014']);
  });
});

for (const version of CONTRACT_MAJORS) {
  test(`on PostgreSQL ${version} a healthy database is found healthy, and grants mend a role without any`, async () => {
    await using old = await PostgresServer.start({ version, settings: { fsync: 'off' } });
    await using others = await Clinic.open(old);
    await using patient = await others.admit();
    await patient.asOwner(T, 'alter table public.t replica identity full');
    assert.deepEqual(await patient.findings(), []);
    await patient.asSuperuser(
      'alter role $me noreplication',
      revokeReplicaRole(version),
      'revoke execute on function pg_replication_origin_session_setup(text) from public',
      'alter table public.t owner to postgres',
      'revoke all on public.t from $me',
      'alter database $me owner to postgres',
      "select pg_create_logical_replication_slot('syncline_$me', 'pgoutput')",
    );
    const found = await patient.findings();
    const codes = [...new Set(found.map(({ code }) => code))].sort();
    assert.deepEqual(codes, ['SYN-K002', 'SYN-P004', 'SYN-P005', 'SYN-P006', 'SYN-P011']);
    for (const { fix } of found) await patient.mend(fix);
    assert.deepEqual(await patient.findings(), []);
  });
}
