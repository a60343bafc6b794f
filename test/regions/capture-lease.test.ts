// One agent per region: the lease on a real server, and what a holder that was paused can still do.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lease } from '../../src/capture/lease.ts';
import type { LogRecord } from '../../src/change/stream-record.ts';
import type { EventLog, StreamWriter } from '../../src/log/event-log.ts';
import { MemoryLog } from '../../src/log/memory-log.ts';
import { connect } from '../../src/platform/postgres.ts';
import { CapturedRegion, LEASE_TEST_LIMITS } from '../support/captured-region.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { hasCode } from '../support/replication-source.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

/** A log whose appends can be held back, as those of a process that was stopped. */
class HeldLog implements EventLog {
  readonly #log: EventLog;
  readonly #release = Promise.withResolvers<void>();
  isHeld = false;
  /** Appends that wait to be released. */
  held = 0;

  constructor(log: EventLog) {
    this.#log = log;
  }

  release(): void {
    this.isHeld = false;
    this.#release.resolve();
  }

  async writer(stream: string): Promise<StreamWriter> {
    const writer = await this.#log.writer(stream);
    return {
      append: async (records: readonly LogRecord[]) => {
        if (this.isHeld) {
          this.held += 1;
          await this.#release.promise;
        }
        return await writer.append(records);
      },
      trim: async (offset) => await writer.trim(offset),
      [Symbol.asyncDispose]: async () => {
        // What is on its way cannot be called back.
        if (this.isHeld) await this.#release.promise;
        await writer[Symbol.asyncDispose]();
      },
    };
  }

  reader(stream: string): ReturnType<EventLog['reader']> {
    return this.#log.reader(stream);
  }

  acknowledge(stream: string, consumer: string, offset: number): Promise<void> {
    return this.#log.acknowledge(stream, consumer, offset);
  }

  acknowledged(stream: string): Promise<ReadonlyMap<string, number>> {
    return this.#log.acknowledged(stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

describe('the lease of a region', () => {
  let server: PostgresServer;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  test('a second agent is refused while the first one lives, and is told who that is', async () => {
    await using region = await CapturedRegion.make(server);
    await using first = await Lease.acquire(region.leaseOptions());
    await assert.rejects(Lease.acquire(region.leaseOptions()), (error) => {
      assert.ok(hasCode('SYN-K005')(error));
      assert.match(String(error), new RegExp(`pid ${process.pid} on `));
      return true;
    });
    await first.assertHeld();
  });

  test('one that was given back is free at once; numbers of runs go on', async () => {
    await using region = await CapturedRegion.make(server);
    const first = await Lease.acquire(region.leaseOptions());
    assert.deepEqual([await first.nextRun(0), await first.nextRun(0), await first.nextRun(7)], [1, 2, 8]);
    await first[Symbol.asyncDispose]();
    await using second = await Lease.acquire(
      region.leaseOptions({ limits: { ...LEASE_TEST_LIMITS, expiryMs: 600_000 } }),
    );
    assert.equal(await second.nextRun(0), 9);
  });

  test('one whose holder is silent is taken over, and its backends are ended', async () => {
    await using region = await CapturedRegion.make(server);
    const { host, port } = server;
    await using proxy = await TcpProxy.start({ host, port });
    const silent = await Lease.acquire(region.leaseOptions({ url: proxy.url(region.url) }));
    await using backend = await connect(region.url, { applicationName: silent.applicationName('apply') });
    await using bystander = await connect(region.url, { applicationName: 'syncline verify' });
    proxy.blackHole();
    await using successor = await Lease.acquire(region.leaseOptions());
    await waitFor(() => backend.lost.aborted, { what: 'the backend of the former holder is gone' });
    await bystander.query('select 1');
    await successor.assertHeld();
    await proxy.heal();
    await waitFor(() => silent.lost.aborted, { what: 'the former holder knows' });
    assert.ok(hasCode('SYN-L005')(silent.lost.reason));
    await assert.rejects(silent.nextRun(0), hasCode('SYN-L005'));
    await silent[Symbol.asyncDispose]();
    await successor.assertHeld();
  });

  test('a holder whose connection breaks goes on with a new one', async () => {
    await using region = await CapturedRegion.make(server);
    await using lease = await Lease.acquire(region.leaseOptions());
    await region.sql.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [
      lease.applicationName('lease'),
    ]);
    await waitFor(
      async () => {
        await lease.assertHeld();
        return true;
      },
      { what: 'the lease is renewed again' },
    );
    assert.equal(lease.lost.aborted, false);
  });

  test('a capture whose lease is taken over stops', async () => {
    await using region = await CapturedRegion.make(server);
    await using running = await region.capture();
    await region.sql.query("update syncline.lease set holder = 'somebody else'");
    await running.stoppedWith('SYN-L005');
  });

  test('what a zombie appends after the takeover is void, and nothing is lost or doubled', async () => {
    const log = new MemoryLog();
    await using region = await CapturedRegion.make(server, log);
    await region.sql.query('create table public.t (id int primary key)');
    const { host, port } = server;
    await using proxy = await TcpProxy.start({ host, port });
    const held = new HeldLog(log);
    const url = proxy.url(region.url);
    const lease = await Lease.acquire(region.leaseOptions({ url }));
    await using zombie = await region.startCapture({ lease, url, log: held });
    await zombie.streaming();
    await region.sql.query('insert into public.t values (1)');
    await region.transactions(1);

    // As if the process was stopped: the network is silent, and an append is on its way.
    held.isHeld = true;
    await region.sql.query('insert into public.t values (2)');
    await waitFor(() => held.held > 0, { what: 'an append of the zombie is held' });
    proxy.blackHole();
    await region.sql.query('insert into public.t values (3)');

    await using successor = await region.capture();
    await region.transactions(3);
    held.release();
    await proxy.heal();
    await zombie.stoppedWith('SYN-L005');
    await region.sql.query('insert into public.t values (4)');
    const { transactions, runs } = await region.settled();
    assert.deepEqual(
      transactions.map(({ events }) => events[0]?.row_pk.id),
      ['1', '2', '3', '4'],
    );
    assert.deepEqual(
      runs.map(({ run }) => run.run),
      [1, 2],
    );
    assert.equal(successor.capture.state.kind, 'streaming');

    await using reader = await log.reader(region.region);
    const raw = await reader.read(0, { records_max: 1_000_000, bytes_max: 2 ** 30 });
    const takeover = raw.findIndex((record) => record.kind === 'run' && record.run === 2);
    assert.ok(raw.slice(takeover).some(({ run }) => run === 1));
  });
});
