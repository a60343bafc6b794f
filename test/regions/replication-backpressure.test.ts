// A consumer that is slower than the server: memory stays bounded, the connection stays alive, and
// nothing is lost.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ReplicationConnection } from '../../src/capture/stream/replication-connection.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { hasCode, idsOf, ReplicationSource, readCommits, readToEnd } from '../support/replication-source.ts';
import { waitFor } from '../support/wait-for.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const ROWS = 200_000;
// 200 bytes a row make 40 MB, more than may be held.
const NOTE_BYTES = 200;

describe('backpressure', () => {
  let server: PostgresServer;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  async function insertMany(source: ReplicationSource, rows: number): Promise<void> {
    const sql = 'insert into public.t select id, repeat($1, $2::int) from generate_series(1, $3::int) id';
    await source.sql.query(sql, ['x', String(NOTE_BYTES), String(rows)]);
  }

  test('a transaction of 200,000 rows waits in the server, not in memory', async () => {
    await using source = await ReplicationSource.make(server);
    await using connection = await ReplicationConnection.connect({ url: source.url });
    const queueBytesMax = MIB;
    await using stream = await source.stream(connection, { queueBytesMax });
    const before = process.memoryUsage().arrayBuffers;
    await insertMany(source, ROWS);
    await waitFor(() => stream.isPaused, { what: 'the socket is paused' });

    let rows = 0;
    let queuedBytesMax = 0;
    let heldBytesMax = 0;
    let pauses = 0;
    for await (const item of stream) {
      if (item.kind === 'commit') break;
      if (item.kind !== 'insert') continue;
      rows += 1;
      assert.equal(item.new[0], String(rows));
      queuedBytesMax = Math.max(queuedBytesMax, stream.queuedBytes);
      if (rows % 10_000 === 0) {
        // A consumer that waits for something else, such as a disk.
        await waitFor(() => stream.isPaused || rows === ROWS, { what: 'the queue is full again' });
        pauses += 1;
        heldBytesMax = Math.max(heldBytesMax, process.memoryUsage().arrayBuffers - before);
      }
    }
    assert.equal(rows, ROWS);
    assert.equal(pauses, ROWS / 10_000);
    // Beyond the bound: the frames of the chunk that crossed it.
    assert.ok(queuedBytesMax <= queueBytesMax + 128 * KIB, `${queuedBytesMax} bytes were queued`);
    // The queue, what the socket read ahead, and chunks that the garbage collector has not met yet.
    assert.ok(heldBytesMax < 24 * MIB, `${heldBytesMax} bytes were held`);
  });

  test('a paused stream keeps the connection alive, and a silent one is cut by the server', async () => {
    await using source = await ReplicationSource.make(server);
    await source.sql.query(`alter role postgres in database ${source.slot} set wal_sender_timeout = '1s'`);
    const applicationName = `paused ${source.slot}`;
    const second = `${source.slot}_silent`;
    await using silentConnection = await ReplicationConnection.connect({ url: source.url });
    await silentConnection.createSlot({ slot: second, snapshot: 'none' });
    await using connection = await ReplicationConnection.connect({ url: source.url, applicationName });
    const queueBytesMax = 64 * KIB;
    await using stream = await source.stream(connection, { queueBytesMax, statusIntervalMs: 50 });
    const silent = await silentConnection.start({
      slot: second,
      publications: ['p'],
      queueBytesMax,
      statusIntervalMs: 3_600_000,
    });
    await insertMany(source, ROWS);
    await waitFor(() => stream.isPaused, { what: 'the socket is paused' });
    const since = await source.replyTime(applicationName);
    await waitFor(
      async () => {
        const sql =
          "select 1 from pg_stat_replication where application_name = $1 and reply_time > $2::timestamptz + interval '3 s'";
        return (await source.sql.query(sql, [applicationName, since])).rowCount === 1;
      },
      { what: 'the server hears from the paused stream for three times its limit' },
    );
    assert.equal(stream.isPaused, true);
    assert.equal(idsOf(await readCommits(stream, 1)).length, ROWS);
    await assert.rejects(readToEnd(silent), hasCode('SYN-K003'));
  });

  test('stop in the middle of a large transaction does not wait for its end', async () => {
    await using source = await ReplicationSource.make(server);
    await using connection = await ReplicationConnection.connect({ url: source.url });
    const stream = await source.stream(connection, { queueBytesMax: 64 * KIB, stopLimitMs: 1 });
    await insertMany(source, ROWS);
    await waitFor(() => stream.isPaused, { what: 'the socket is paused' });
    await stream.stop();
    assert.deepEqual(await readToEnd(stream), []);
    await waitFor(async () => (await source.slotColumn('active_pid')) === null, { what: 'the slot is released' });
    await using again = await ReplicationConnection.connect({ url: source.url });
    await using rest = await source.stream(again);
    assert.equal(idsOf(await readCommits(rest, 1)).length, ROWS);
  });
});
