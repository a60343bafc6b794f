// Every way in which replication fails on real servers, and the code that it gets.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { holdsSlot } from '../../src/capture/slot/slot-holder.ts';
import { ReplicationConnection } from '../../src/capture/stream/replication-connection.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { commitsOf, hasCode, idsOf, ReplicationSource, readCommits, readToEnd } from '../support/replication-source.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

for (const version of CONTRACT_MAJORS) {
  describe(`failures of replication from PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    before(async () => {
      server = await PostgresServer.start({ version });
    });
    after(async () => {
      await server[Symbol.asyncDispose]();
    });

    test('a slot that is missing, and one that is in use', async () => {
      await using source = await ReplicationSource.make(server);
      await using holder = await ReplicationConnection.connect({ url: source.url });
      await using stream = await source.stream(holder);
      await using second = await ReplicationConnection.connect({ url: source.url });
      await assert.rejects(source.stream(second), hasCode('SYN-K004'));
      await using third = await ReplicationConnection.connect({ url: source.url });
      await assert.rejects(source.stream(third, { slot: 'missing' }), hasCode('SYN-K001'));
      await source.insert(1);
      assert.deepEqual(idsOf(await readCommits(stream, 1)), ['1']);
    });

    test('a publication that is missing stops the stream before its changes are skipped', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection);
      await source.insert(1);
      await readCommits(stream, 1);
      await source.sql.query('drop publication p');
      await source.insert(2);
      await assert.rejects(readToEnd(stream), hasCode('SYN-K002'));
    });

    test('a terminated WAL sender', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection);
      await source.insert(1);
      await readCommits(stream, 1);
      await source.sql.query('select pg_terminate_backend($1)', [await source.slotColumn('active_pid')]);
      await assert.rejects(readToEnd(stream), hasCode('SYN-K003'));
      await assert.rejects(readToEnd(stream), hasCode('SYN-K003'), 'a failed stream stays failed');
    });

    test('a WAL sender that says nothing is waited for as long as it holds the slot', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      let asked = 0;
      const isAtWork = async (pid: number): Promise<boolean> => {
        asked += 1;
        return await holdsSlot(source.sql, source.slot, pid);
      };
      const stream = await source.stream(connection, { statusIntervalMs: 50, silenceLimitMs: 1_000, isAtWork });
      const pid = Number(await source.slotColumn('active_pid'));
      assert.equal(await holdsSlot(source.sql, source.slot, pid + 1), false);
      process.kill(pid, 'SIGSTOP');
      try {
        await source.insert(1);
        await waitFor(() => asked > 2, { what: 'the stream has asked again and again' });
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      assert.deepEqual(idsOf(await readCommits(stream, 1)), ['1']);
    });

    test('of a row above the limit only that it is there is told; any other frame stops the stream', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection, { frameBytesMax: 64 * 1024 });
      await source.insert(1);
      await source.sql.query("insert into public.t values (2, repeat('x', 700000))");
      await source.insert(3);
      const messages = await readCommits(stream, 3);
      assert.deepEqual(idsOf(messages), ['1', '3']);
      const [oversized] = messages.filter((message) => message.kind === 'oversized');
      assert.equal(oversized?.relation.table, 't');
      assert.ok(oversized.frameBytes > 700_000);
      await source.sql.query("select pg_logical_emit_message(true, 'any', repeat('x', 70000))");
      await assert.rejects(readToEnd(stream), hasCode('SYN-K007'));
    });

    test('a role without REPLICATION, a wrong password, no password, no database', async () => {
      await using source = await ReplicationSource.make(server);
      await source.sql.query(`create role "plain ${version}" login password 'right'`);
      const as = (change: (url: URL) => void): Promise<ReplicationConnection> => {
        const url = new URL(source.url);
        url.username = `plain ${version}`;
        url.password = 'right';
        change(url);
        return ReplicationConnection.connect({ url: url.href });
      };
      await assert.rejects(
        as(() => undefined),
        hasCode('SYN-P004'),
      );
      await assert.rejects(
        as((url) => {
          url.password = 'wrong';
        }),
        hasCode('SYN-P008'),
      );
      await assert.rejects(
        as((url) => {
          url.password = '';
        }),
        hasCode('SYN-P008'),
      );
      const missing = server.url('missing');
      await assert.rejects(ReplicationConnection.connect({ url: missing }), hasCode('SYN-P010'));
    });

    test('a cut network, and one that swallows everything', async () => {
      await using source = await ReplicationSource.make(server);
      await using proxy = await TcpProxy.start({ host: server.host, port: server.port });
      const url = proxy.url(source.url);
      {
        await using connection = await ReplicationConnection.connect({ url });
        const stream = await source.stream(connection);
        proxy.cut();
        await assert.rejects(readToEnd(stream), hasCode('SYN-K003'));
      }
      await waitFor(async () => (await source.slotColumn('active_pid')) === null, { what: 'the slot is released' });
      await using connection = await ReplicationConnection.connect({ url });
      const stream = await source.stream(connection, { statusIntervalMs: 50, silenceLimitMs: 2_000, stopLimitMs: 100 });
      await source.insert(1);
      await readCommits(stream, 1);
      proxy.blackHole();
      await assert.rejects(readToEnd(stream), hasCode('SYN-K003'));
      await proxy.heal();
    });

    test('an idle stream is not taken for a silent one', async () => {
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection, { statusIntervalMs: 50, silenceLimitMs: 1_500 });
      let keepalives = 0;
      for await (const item of stream) {
        if (item.kind === 'keepalive' && ++keepalives === 4) break;
      }
      await source.insert(1);
      assert.deepEqual(idsOf(await readCommits(stream, 1)), ['1']);
      await stream.stop();
    });
  });

  describe(`failures of a PostgreSQL ${version} that is set up or shut down so`, () => {
    test('the wrong wal_level, and no free slot', async () => {
      await using server = await PostgresServer.start({
        version,
        settings: { wal_level: 'replica', max_replication_slots: '1' },
      });
      const create = async (slot: string): Promise<void> => {
        await using connection = await ReplicationConnection.connect({ url: server.url() });
        await connection.createSlot({ slot, snapshot: 'none' });
      };
      await assert.rejects(create('one'), hasCode('SYN-P001'));
      await server.restart({ wal_level: 'logical' });
      await create('one');
      await assert.rejects(create('two'), hasCode('SYN-P003'));
      await server.restart({ wal_level: 'logical', max_wal_senders: '0' });
      await assert.rejects(ReplicationConnection.connect({ url: server.url() }), hasCode('SYN-P003'));
      await server.stop();
      await assert.rejects(ReplicationConnection.connect({ url: server.url() }), hasCode('SYN-P009'));
    });

    test('a slot that fell too far behind', async () => {
      await using server = await PostgresServer.start({
        version,
        settings: { max_slot_wal_keep_size: '1MB', max_wal_size: '32MB', min_wal_size: '32MB' },
      });
      await using source = await ReplicationSource.make(server);
      await waitFor(
        async () => {
          await source.sql.query('select pg_switch_wal()');
          await source.sql.query("select pg_logical_emit_message(false, 'fill', 'x')");
          await source.sql.query('checkpoint');
          return (await source.slotColumn('wal_status')) === 'lost';
        },
        { what: 'the slot is invalidated' },
      );
      await using connection = await ReplicationConnection.connect({ url: source.url });
      await assert.rejects(source.stream(connection), hasCode('SYN-K001'));
    });

    test('a server that shuts down', async () => {
      await using server = await PostgresServer.start({ version });
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection);
      await source.insert(1);
      const commit = commitsOf(await readCommits(stream, 1))[0];
      stream.confirm(commit?.endLsn ?? 0n);
      const end = assert.rejects(readToEnd(stream), hasCode('SYN-K003'));
      await server.stop();
      await end;
    });

    test('a server that shuts down is not held up for ever by what cannot be confirmed', async () => {
      await using server = await PostgresServer.start({ version, settings: { log_checkpoints: 'on' } });
      await using source = await ReplicationSource.make(server);
      await using connection = await ReplicationConnection.connect({ url: source.url });
      const stream = await source.stream(connection, {
        confirmDelayMs: 10,
        statusIntervalMs: 100,
        shutdownGraceMs: 300,
      });
      await source.insert(1);
      await readCommits(stream, 1);
      const end = assert.rejects(readToEnd(stream), hasCode('SYN-K003'));
      await server.stop();
      await end;
      assert.match(await server.logTail(), /checkpoint complete.*shut down/s, 'the server ended in good order');
      await server.restart();
      await using later = await ReplicationConnection.connect({ url: server.url(source.slot) });
      await using rest = await source.stream(later);
      assert.deepEqual(idsOf(await readCommits(rest, 1)), ['1']);
    });
  });
}
