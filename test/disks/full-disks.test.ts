/**
 * Disks that are full: of a database's tables, of its write-ahead log, of the embedded log. Whoever meets it waits and says
 * so; the others go on; and once there is room again, all regions end equal and every acknowledged commit is accounted for.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { installPostgres } from '../../src/platform/servers/postgres-binaries.ts';
import { agentStatus, linkFrom } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../support/journal.ts';
import { accountForAll } from '../support/journal-check.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { waitFor } from '../support/wait-for.ts';

const SEED = 7;
const COMMITS = 60;
/** Commits of others, more than an embedded log of a few megabytes or a table's last free pages take. */
const COMMITS_WHILE_FULL = 300;
const WAL_SETTINGS = { min_wal_size: '32MB', max_wal_size: '48MB', wal_keep_size: '0', wal_recycle: 'off' };

describe('a disk that is full', () => {
  test('below the tables of a region: apply waits and says so, and nothing is left out', async () => {
    await using disk = await SmallDisk.mount(24, await ownerOfServers());
    await using cluster = await Cluster.start({ schema: JOURNAL_SCHEMA, agents: false });
    const [eu, us, ap] = regionsOf(cluster);
    await eu.sql(`create tablespace small location '${disk.path}'`);
    await eu.sql('alter table ledger set tablespace small');
    await eu.sql('alter index ledger_pkey set tablespace small');
    await cluster.startAgents();
    const journal = new Journal();
    {
      await using _ = new JournalWriters([us, ap], journal, { clients: 2, seed: SEED });
      await journal.moreAcknowledged(COMMITS);
      await disk.fill();
      const reasons = async (): Promise<string[]> =>
        (await agentStatus(eu)).links.flatMap(({ reason }) => (reason === null ? [] : [reason.code, reason.detail]));
      await waitFor(async () => (await reasons()).includes('SYN-A010'), { what: 'apply at eu to say so' });
      await journal.moreAcknowledged(COMMITS_WHILE_FULL);
      assert.match((await reasons()).join(), /No space left on device/);
      assert.equal((await agentStatus(eu)).apply.problem, null, 'nothing begins anew');
      assert.equal(await eu.one('select count(*) from syncline.quarantine'), '0');
      await disk.clear();
      await journal.moreAcknowledged(COMMITS);
    }
    for (const region of cluster.regions) await region.agentReady();
    await accountForAll(cluster, journal);
  });

  test('below the write-ahead log of a region: its server goes down and comes back, and nothing is lost', async () => {
    await using disk = await SmallDisk.mount(112, await ownerOfServers());
    await using cluster = await Cluster.start({ schema: JOURNAL_SCHEMA, settings: WAL_SETTINGS });
    const [eu] = regionsOf(cluster);
    const journal = new Journal();
    await moveWal(eu, disk);
    {
      await using _ = new JournalWriters(cluster.regions, journal, { clients: 2, seed: SEED });
      await journal.moreAcknowledged(COMMITS);
      await disk.fill();
      // Segments that are there already have room: users write until a new one is due.
      const bulk = eu.session().then(async (client) => {
        await client.query('create table syncline_unrelated as select md5(i::text) from generate_series(1, 2000000) i');
      });
      await assert.rejects(bulk);
      await waitFor(async () => !(await isUp(eu)), { what: 'the server of eu to go down' });
      await journal.moreAcknowledged(COMMITS_WHILE_FULL);
      await disk.clear();
      await eu.server.kill9();
      await eu.server.restart();
      await eu.agentReady();
      await journal.moreAcknowledged(COMMITS);
    }
    await eu.sql('drop table if exists syncline_unrelated');
    for (const region of cluster.regions) await region.agentReady();
    await accountForAll(cluster, journal);
  });

  test('below the embedded log: capture waits and says so, its users go on, and the slot keeps what is not published', async () => {
    await using disk = await SmallDisk.mount(8);
    const regions = ['eu', 'us', 'ap'];
    const logs = Object.fromEntries(
      regions.map((name) => [name, `{ type: embedded, path: ${join(disk.path, name)} }`]),
    );
    await using cluster = await Cluster.start({ regions, schema: JOURNAL_SCHEMA, logs });
    const [eu] = regionsOf(cluster);
    const journal = new Journal();
    {
      await using _ = new JournalWriters(cluster.regions, journal, { clients: 2, seed: SEED });
      await journal.moreAcknowledged(COMMITS);
      await disk.fill();
      await waitFor(async () => (await agentStatus(eu)).capture.problem !== null, { what: 'capture at eu to say so' });
      await journal.moreAcknowledged(COMMITS_WHILE_FULL);
      assert.match(String((await agentStatus(eu)).capture.problem?.code), /^SYN-L/);
      await disk.clear();
      await journal.moreAcknowledged(COMMITS);
      await waitFor(async () => (await agentStatus(eu)).capture.problem === null, { what: 'capture at eu to go on' });
    }
    assert.equal((await linkFrom('us', eu)).quarantined, 0);
    for (const region of cluster.regions) await region.agentReady();
    await accountForAll(cluster, journal);
  });
});

function regionsOf(cluster: Cluster): [ClusterRegion, ClusterRegion, ClusterRegion] {
  return [cluster.region('eu'), cluster.region('us'), cluster.region('ap')];
}

async function ownerOfServers(): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  const { uid, gid } = (await installPostgres(18)).runAs;
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

/** Puts the write-ahead log of a running server onto that disk. */
async function moveWal(region: ClusterRegion, disk: SmallDisk): Promise<void> {
  const wal = join(region.server.dataDirectory, 'pg_wal');
  await region.server.stop('fast');
  await promisify(execFile)('cp', ['-a', wal, join(disk.path, 'wal')]);
  await rename(wal, `${wal}.before`);
  await symlink(join(disk.path, 'wal'), wal);
  await region.server.restart();
  await region.agentReady();
}

async function isUp(region: ClusterRegion): Promise<boolean> {
  return await region.session().then(
    async (client) => {
      await client.end();
      return true;
    },
    () => false,
  );
}
