// The replication connection against real servers: what streams, and what is confirmed.

import assert from 'node:assert/strict';
import { chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { APPLIED_PREFIX, AppliedWork, appliedWord } from '../../src/capture/stream/applied-work.ts';
import type { CommitMessage } from '../../src/capture/stream/pgoutput-messages.ts';
import { ReplicationConnection } from '../../src/capture/stream/replication-connection.ts';
import { lsnFromText } from '../../src/change/position.ts';
import { selfSignedCertificate } from '../support/certificate-authority.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { commitsOf, idsOf, ReplicationSource, readCommits, readToEnd } from '../support/replication-source.ts';
import { waitFor } from '../support/wait-for.ts';

for (const version of CONTRACT_MAJORS) {
  describe(`replication connection to PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(async () => {
      await server[Symbol.asyncDispose]();
    });

    test('commands: identity, a slot, and its exported snapshot', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const identity = await connection.identifySystem();
      const { rows } = await source.sql.query('select system_identifier from pg_control_system()');
      assert.equal(identity.systemId, rows[0]?.system_identifier);
      assert.equal(identity.database, source.slot);
      assert.equal(Math.floor(connection.serverVersionNum / 10_000), version);

      await source.insert(1);
      const slot = `${source.slot}_2`;
      const created = await connection.createSlot({ slot, snapshot: 'export', temporary: true });
      assert.equal(created.slot, slot);
      assert.ok(created.consistentPoint > identity.walFlushLsn);
      assert.ok(created.snapshotName !== undefined);
      await source.insert(2);
      await source.sql.query('begin isolation level repeatable read');
      await source.sql.query(`set transaction snapshot '${created.snapshotName}'`);
      const seen = await source.sql.query('select id from public.t');
      await source.sql.query('commit');
      assert.deepEqual(seen.rows, [{ id: '1' }]);
    });

    test('transactions come whole and in order, and values as the pinned session prints them', async () => {
      await using source = await ReplicationSource.make(server);
      await source.sql.query(`alter role postgres in database ${source.slot} set datestyle = 'German'`);
      await source.sql.query('alter table public.t add column day date');
      await using connection = await ReplicationConnection.connect({ url: source.url });
      await using stream = await source.stream(connection);
      await source.sql.query("insert into public.t values (1, null, '2024-02-03'), (2, '', null)");
      await source.sql.query("update public.t set note = 'x' where id = 1");
      const messages = await readCommits(stream, 2);
      assert.deepEqual(
        messages.map((message) => message.kind),
        ['begin', 'relation', 'insert', 'insert', 'commit', 'begin', 'update', 'commit'],
      );
      const update = messages[6];
      assert.ok(update?.kind === 'update');
      assert.deepEqual(update.old, ['1', null, '2024-02-03']);
      assert.deepEqual(update.new, ['1', 'x', '2024-02-03']);
    });

    test('the slot moves to what was confirmed, and never beyond', async () => {
      await using source = await ReplicationSource.make(server);
      const initial = await source.slotColumn('confirmed_flush_lsn');
      await using connection = await ReplicationConnection.connect({ url: source.url, applicationName: source.slot });
      await using stream = await source.stream(connection, { statusIntervalMs: 20 });
      for (const id of [1, 2, 3]) await source.insert(id);
      const commits = commitsOf(await readCommits(stream, 3));
      const updatesSeen = async (): Promise<void> => {
        for (let update = 0; update < 3; update += 1) {
          const last = await source.replyTime(source.slot);
          await waitFor(async () => (await source.replyTime(source.slot)) !== last, { what: 'a status update' });
        }
      };
      await updatesSeen();
      assert.equal(await source.slotColumn('confirmed_flush_lsn'), initial);

      const second = commits[1]?.endLsn ?? 0n;
      stream.confirm(second);
      stream.confirm(commits[0]?.endLsn ?? 0n); // Going back is ignored.
      const confirmed = async () => lsnFromText((await source.slotColumn('confirmed_flush_lsn')) ?? '0/0');
      await waitFor(async () => (await confirmed()) === second, { what: 'the confirmed position' });
      await source.insert(4);
      await readCommits(stream, 1);
      await updatesSeen();
      assert.equal(await confirmed(), second);

      await stream.stop();
      await using again = await ReplicationConnection.connect({ url: source.url });
      await using rest = await source.stream(again);
      assert.deepEqual(idsOf(await readCommits(rest, 2)), ['3', '4']);
    });

    test('a position that was not delivered cannot be confirmed', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      await using stream = await source.stream(connection);
      await source.insert(1);
      const commit = commitsOf(await readCommits(stream, 1))[0];
      assert.ok(commit);
      assert.throws(() => stream.confirm(commit.endLsn + 1n), { name: 'InvariantViolation' });
      stream.confirm(commit.endLsn);
    });

    test('a start position above the confirmed one skips, and one below it does not repeat', async () => {
      await using source = await ReplicationSource.make(server);
      await source.insert(1);
      await source.insert(2);
      let first: CommitMessage | undefined;
      {
        await using connection = await ReplicationConnection.connect({ url: source.url });
        await using stream = await source.stream(connection);
        first = commitsOf(await readCommits(stream, 1))[0];
      }
      assert.ok(first);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      await using stream = await source.stream(connection, { startLsn: first.endLsn });
      assert.deepEqual(idsOf(await readCommits(stream, 1)), ['2']);
    });

    test('stop releases the slot at once, and ends the loop of the consumer', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection);
      const consumer = readToEnd(stream);
      await stream.stop();
      await consumer;
      assert.equal(await source.slotColumn('active_pid'), null);
    });

    test('rows under an origin that is passed over are left out, those of others are not', async () => {
      await using source = await ReplicationSource.make(server);
      const { sql } = source;
      const [ours, theirs] = [`ours_${source.slot}`, `theirs_${source.slot}`];
      await using connection = await ReplicationConnection.connect({ url: source.url });
      await using stream = await source.stream(connection, { applied: new AppliedWork(ours, null) });
      for (const [place, origin] of [ours, theirs].entries()) {
        await sql.query('select pg_replication_origin_create($1)', [origin]);
        await sql.query('select pg_replication_origin_session_setup($1)', [origin]);
        await source.insert(place);
        await sql.query('select pg_replication_origin_session_reset()');
      }
      await source.insert(2);
      assert.deepEqual(idsOf(await readCommits(stream, 3)), ['1', '2']);
      for (const origin of [ours, theirs]) await sql.query('select pg_replication_origin_drop($1)', [origin]);
    });

    test('rows behind the message that a lane without origins begins with are left out', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      await using stream = await source.stream(connection, { applied: new AppliedWork('syncline_', 'secret') });
      for (const [place, secret] of ['secret', 'guess'].entries()) {
        await source.sql.query('begin');
        const { rows } = await source.sql.query('select pg_current_xact_id()::xid as xid');
        const word = appliedWord(secret, Number(rows[0]?.xid));
        await source.sql.query('select pg_logical_emit_message(true, $1::text, $2::text)', [APPLIED_PREFIX, word]);
        await source.insert(place);
        await source.sql.query('commit');
      }
      await source.insert(2);
      assert.deepEqual(idsOf(await readCommits(stream, 3)), ['1', '2']);
    });

    test('over TLS', async () => {
      await using server = await PostgresServer.start({ version });
      const { key, certificate } = selfSignedCertificate();
      const owner = await stat(server.dataDirectory);
      for (const [name, content] of [
        ['server.key', key],
        ['server.crt', certificate],
      ] as const) {
        const path = join(server.dataDirectory, name);
        await writeFile(path, content, { mode: 0o600 });
        await chown(path, owner.uid, owner.gid);
      }
      await server.restart({ ssl: 'on' });
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: `${source.url}?sslmode=no-verify` });
      await using stream = await source.stream(connection, { queueBytesMax: 64 * 1024 });
      await source.sql.query('insert into public.t select id, repeat($1, 100) from generate_series(1, 5000) id', ['x']);
      await waitFor(() => stream.isPaused, { what: 'the TLS socket is paused' });
      const { rows } = await source.sql.query(
        'select ssl from pg_stat_ssl join pg_replication_slots on active_pid = pid where slot_name = $1',
        [source.slot],
      );
      assert.deepEqual(rows, [{ ssl: 't' }]);
      const ids = idsOf(await readCommits(stream, 1));
      assert.equal(ids.length, 5000);
      assert.equal(ids.at(-1), '5000');
      await source.sql.end();
      await stream.stop();
    });
  });
}
