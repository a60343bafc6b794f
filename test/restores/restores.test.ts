/**
 * Restores and failovers under load: a disk snapshot, a point in time, a standby that keeps copies of the slot. Clients keep a
 * journal; what was published comes back from the log, and every acknowledged commit is accounted for.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../support/journal.ts';
import { accountForAll } from '../support/journal-check.ts';
import { comesBack } from '../support/older-copy.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { standbyFrom, takesPlace } from '../support/standby.ts';
import { waitFor } from '../support/wait-for.ts';

const run = promisify(execFile);
const COMMITS = 60;
const STANDBY_SLOT = 'of_the_standby';

describe('a region that is restored under load', () => {
  test('from a disk snapshot has all that it had published, and takes no new commit for an old one', async () => {
    await using cluster = await Cluster.start({ schema: JOURNAL_SCHEMA });
    const [eu, us, ap] = regionsOf(cluster);
    const journal = new Journal();
    let snapshot = '';
    {
      await using _others = new JournalWriters([us, ap], journal, { clients: 1, seed: 1 });
      {
        await using _own = new JournalWriters([eu], journal, { clients: 1, seed: 2 });
        await journal.moreAcknowledged(COMMITS);
        snapshot = await snapshotOf(eu);
        await journal.moreAcknowledged(2 * COMMITS);
      }
      // What was never published is lost with the disk; so all of it is.
      await published(eu, us);
      await comesBack(eu, snapshot);
      // Users are there before the agent.
      await using _later = new JournalWriters([eu], journal, { clients: 1, seed: 3 });
      await journal.moreAcknowledged(COMMITS);
      eu.startAgent();
      await eu.agentReady();
      await journal.moreAcknowledged(COMMITS);
    }
    await accountFor(cluster, journal);
  });

  test('to a point in time, from a base backup and archived WAL, does so too', async () => {
    await using cluster = await Cluster.start({ schema: JOURNAL_SCHEMA, regions: ['eu', 'us'], agents: false });
    const [eu, us] = regionsOf(cluster);
    const archive = join(eu.server.folder, 'archive');
    await mkdir(archive, { mode: 0o777 });
    await run('chmod', ['777', archive]);
    await eu.sql(`alter system set archive_mode = 'on'`);
    await eu.sql(`alter system set archive_command = 'cp %p ${archive}/%f'`);
    await eu.server.stop();
    await eu.server.restart();
    await cluster.startAgents();
    const journal = new Journal();
    {
      await using _others = new JournalWriters([us], journal, { clients: 1, seed: 1 });
      let backup = '';
      {
        await using _own = new JournalWriters([eu], journal, { clients: 1, seed: 2 });
        await journal.moreAcknowledged(COMMITS);
        backup = await baseBackup(eu);
        await journal.moreAcknowledged(COMMITS);
        await eu.sql(`select pg_create_restore_point('here')`);
        await eu.sql('select pg_switch_wal()');
        await journal.moreAcknowledged(COMMITS);
      }
      await published(eu, us);
      const wanted = await eu.one('select pg_walfile_name(pg_current_wal_lsn())');
      await eu.sql('select pg_switch_wal()');
      await waitFor(async () => (await readdir(archive)).includes(String(wanted)), { what: 'the WAL to be archived' });
      await appendFile(
        join(backup, 'postgresql.conf'),
        `restore_command = 'cp ${archive}/%f %p'\nrecovery_target_name = 'here'\nrecovery_target_action = 'promote'\n`,
      );
      await writeFile(join(backup, 'recovery.signal'), '');
      await comesBack(eu, backup);
      await waitFor(async () => (await eu.one('select pg_is_in_recovery()')) === 'f', { what: 'the recovery to end' });
      assert.equal(await eu.one('select timeline_id from pg_control_checkpoint()'), '2');
      eu.startAgent();
      await eu.agentReady();
      await using _later = new JournalWriters([eu], journal, { clients: 1, seed: 3 });
      await journal.moreAcknowledged(COMMITS);
    }
    await accountFor(cluster, journal);
  });

  // Slots fail over since 17.
  if (DEFAULT_MAJOR >= 17)
    test('goes on with the slot of a standby that is promoted, whose users write before there is an agent', async () => {
      await using cluster = await Cluster.start({ schema: JOURNAL_SCHEMA, agents: false });
      const [eu, us, ap] = regionsOf(cluster);
      await eu.sql(`select pg_create_physical_replication_slot('${STANDBY_SLOT}', true)`);
      await eu.sql(`alter system set synchronized_standby_slots = '${STANDBY_SLOT}'`);
      await eu.sql('select pg_reload_conf()');
      await using standby = await standbyOf(eu);
      await cluster.startAgents();
      const journal = new Journal();
      {
        await using _others = new JournalWriters([us, ap], journal, { clients: 1, seed: 1 });
        {
          await using _own = new JournalWriters([eu], journal, { clients: 1, seed: 2 });
          await journal.moreAcknowledged(COMMITS);
          const client = await eu.session(standby.url(eu.database));
          await waitFor(
            async () => {
              const { rows } = await client.query(
                'select count(*) as n from pg_replication_slots where synced and not temporary',
              );
              return rows[0]?.n === '1';
            },
            { what: 'the standby to have a copy of the slot', limitMs: 120_000 },
          );
          await client.end();
          await journal.moreAcknowledged(COMMITS);
        }
        // Nothing is published that the standby lacks.
        await published(eu, us);
        await eu.killAgent();
        await eu.server.stop('immediate');
        await takesPlace(eu, standby);
        await using _later = new JournalWriters([eu], journal, { clients: 1, seed: 3 });
        await journal.moreAcknowledged(COMMITS);
        eu.startAgent();
        await eu.agentReady();
        await journal.moreAcknowledged(COMMITS);
      }
      assert.doesNotMatch(eu.output, /SYN-K02/);
      await accountFor(cluster, journal);
    });
});

function regionsOf(cluster: Cluster): [ClusterRegion, ClusterRegion, ClusterRegion] {
  return [...cluster.regions] as [ClusterRegion, ClusterRegion, ClusterRegion];
}

/** A copy of a disk in mid-work, as storage takes it: that of a server that crashes at this moment. */
async function snapshotOf(region: ClusterRegion): Promise<string> {
  await region.server.kill9();
  const copy = `${region.server.dataDirectory}.snapshot`;
  await run('cp', ['-Rp', region.server.dataDirectory, copy]);
  await region.server.restart();
  await region.agentReady();
  return copy;
}

/** A copy of a running server, as `pg_basebackup` makes it: without its slots. */
async function baseBackup(region: ClusterRegion): Promise<string> {
  const copy = await mkdtemp(join(region.server.folder, 'backup-'));
  const client = await region.session();
  await client.query(`select pg_backup_start('test', true)`);
  // Files may come and go meanwhile; the archived WAL makes it whole.
  await run('sh', ['-c', `cp -Rp "${region.server.dataDirectory}/." "${copy}" 2>/dev/null || true`]);
  const { rows } = await client.query('select labelfile from pg_backup_stop()');
  await client.end();
  await writeFile(join(copy, 'backup_label'), rows[0]?.labelfile ?? '');
  await run('sh', ['-c', `rm -rf "${copy}"/pg_replslot/* "${copy}"/pg_wal/0* "${copy}"/postmaster.*`]);
  await run('chown', ['-R', '--reference', region.server.dataDirectory, copy]);
  await run('chmod', ['700', copy]);
  return copy;
}

/** A hot standby that keeps copies of its primary's logical slots. */
async function standbyOf(region: ClusterRegion): Promise<EmbeddedPostgres> {
  const copy = `${region.server.dataDirectory}.standby`;
  await region.server.stop();
  await run('cp', ['-Rp', region.server.dataDirectory, copy]);
  await region.server.restart();
  // As with `pg_basebackup`, slots do not come along; nor does what the primary waits for.
  await run('sh', ['-c', `rm -rf "${copy}"/pg_replslot/* "${copy}"/postgresql.auto.conf`]);
  return await standbyFrom(region, copy, {
    primary_slot_name: STANDBY_SLOT,
    hot_standby_feedback: 'on',
    sync_replication_slots: 'on',
  });
}

/** Waits until the other region has applied all that is committed in this one. */
async function published(region: ClusterRegion, other: ClusterRegion): Promise<void> {
  await region.sql(`insert into ledger values ('published', ${publishedRow}, 'start', '${region.name}')`);
  const sql = `select count(*) from ledger where token = 'published' and row_id = ${publishedRow}`;
  publishedRow += 1;
  await waitFor(async () => (await other.one(sql)) === '1', { what: `${other.name} to have all of ${region.name}` });
}
let publishedRow = 1;

async function accountFor(cluster: Cluster, journal: Journal): Promise<void> {
  await cluster.settleConflicts();
  for (const region of cluster.regions) await region.sql(`delete from ledger where token = 'published'`);
  await accountForAll(cluster, journal);
}
