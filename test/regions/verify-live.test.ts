// What `verify` says of regions that are written to meanwhile, and over connections that are cut.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { arrayText, connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { exitCodeOf, renderReport } from '../../src/verify/verify-report.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { Regions, tableOf } from '../support/verified-regions.ts';

// Two versions, so that texts and digests of both are compared; each test has databases of its own.
let servers: PostgresServer[] = [];

before(async () => {
  servers = await Promise.all([
    PostgresServer.start({ version: 18, settings: { fsync: 'off' } }),
    PostgresServer.start({ version: 15, settings: { fsync: 'off' } }),
  ]);
});
after(async () => {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

describe('verify', () => {
  test('changes in flight are told from true differences while writers go on', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create table public.items (id int primary key, v int not null)');
    await regions.all('insert into public.items select i, 0 from generate_series(1, 20000) i');
    await regions.in('there', 'update public.items set v = -1 where id = 12345');
    await using lagging = await LaggingCopy.start(regions.urls);
    const report = await regions.verify({ settleMs: 3_000 });
    const writes = await lagging.stop();
    const items = tableOf(report, 'public.items');
    assert.deepEqual(
      items.differences.map(({ key }) => key.id),
      ['12345'],
    );
    assert.deepEqual(items.in_flight, []);
    assert.ok(writes > 0);
    assert.equal(exitCodeOf(report), 1);
  });

  test('a row that never stops changing is reported as in flight, with an exit code of its own', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create table public.items (id int primary key, v int not null)');
    await regions.all('insert into public.items select i, -1 from generate_series(1, 100) i');
    await using hot = await HotRow.start(regions.urls[0] ?? '');
    const report = await regions.verify({ settleMs: 2_000, giveUpMs: 4_000 });
    await hot.stop();
    assert.deepEqual(tableOf(report, 'public.items').in_flight, [{ key: { id: '50' }, changed_in: ['here'] }]);
    assert.equal(tableOf(report, 'public.items').status, 'in-flight');
    assert.equal(exitCodeOf(report), 2);
    assert.match(renderReport(report), /SYN-V003 1 row was still changing/);
  });

  test('a connection that is cut in between is made again', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create table public.items (id int primary key, v text)');
    await regions.all("insert into public.items select i, 'x' from generate_series(1, 50000) i");
    let cuts = 0;
    const cut = async (): Promise<void> => {
      for (const client of regions.clients) {
        await client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'syncline verify' and datname = current_database()",
        );
      }
    };
    let cutting: Promise<void> = Promise.resolve();
    const report = await regions.verify({
      onProgress: () => {
        if (cuts === 2) return;
        cuts += 1;
        cutting = cutting.then(cut);
      },
    });
    await cutting;
    assert.equal(cuts, 2);
    assert.deepEqual(tableOf(report, 'public.items').rows, { here: 50_000, there: 50_000 });
    assert.equal(report.equal, true);
  });
});

/** Writes to the first region and carries each write over to the second one a little later. */
class LaggingCopy implements AsyncDisposable {
  readonly #source: PostgresClient;
  readonly #target: PostgresClient;
  #isStopping = false;
  #writes = 0;
  #running: Promise<void> = Promise.resolve();

  private constructor(source: PostgresClient, target: PostgresClient) {
    this.#source = source;
    this.#target = target;
  }

  static async start(urls: readonly string[]): Promise<LaggingCopy> {
    const clients = await Promise.all(urls.map((url) => connect(url, { applicationName: 'writer' })));
    const copy = new LaggingCopy(clients[0] as PostgresClient, clients[1] as PostgresClient);
    copy.#running = copy.#run();
    return copy;
  }

  async #run(): Promise<void> {
    const update = 'update public.items set v = v + 1 where id = any ($1::int[])';
    while (!this.#isStopping) {
      const ids = Array.from({ length: 20 }, () => 1 + Math.floor(Math.random() * 12_000));
      await this.#source.query(update, [arrayText(ids.map(String))]);
      await this.#source.query('select pg_sleep(0.01)');
      await this.#target.query(update, [arrayText(ids.map(String))]);
      this.#writes += 1;
    }
  }

  async stop(): Promise<number> {
    this.#isStopping = true;
    await this.#running;
    return this.#writes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Promise.all([this.#source.end(), this.#target.end()]);
  }
}

/** Counts up one row as fast as it can. */
class HotRow implements AsyncDisposable {
  readonly #client: PostgresClient;
  #isStopping = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(client: PostgresClient) {
    this.#client = client;
  }

  static async start(url: string): Promise<HotRow> {
    const hot = new HotRow(await connect(url, { applicationName: 'writer' }));
    await hot.#client.query('update public.items set v = v + 2 where id = 50');
    hot.#running = hot.#run();
    return hot;
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) await this.#client.query('update public.items set v = v + 1 where id = 50');
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#client.end();
  }
}
