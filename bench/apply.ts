/**
 * How fast a region applies a waiting log, side by side with PostgreSQL's own logical replication.
 *
 * Both sides get the same work: a table of accounts as pgbench has it, and single-row updates, each a transaction of its
 * own, that were committed while the target was not applying. For Syncline they wait in the embedded log, for PostgreSQL
 * in the slot of a disabled subscription. Measured is the time from letting go to the last row being there; of Syncline, also where
 * the region does without replication origins.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Applier } from '../src/apply/lane/applier.ts';
import { SqlApplyPort } from '../src/apply/sql/sql-apply-port.ts';
import { OrphanFinder } from '../src/apply/upkeep/orphan-finder.ts';
import { ActiveMerges } from '../src/capture/publish/active-merges.ts';
import { Publisher } from '../src/capture/publish/publisher.ts';
import { hlcFromMicros } from '../src/change/hlc.ts';
import { NotesLedger } from '../src/clock/notes-ledger.ts';
import { SqlNoteStore } from '../src/clock/sql-note-store.ts';
import { Stability } from '../src/clock/stability.ts';
import { Stamper } from '../src/clock/stamper.ts';
import { EmbeddedLog } from '../src/log/embedded/embedded-log.ts';
import { migrate } from '../src/platform/migrations.ts';
import { connect } from '../src/platform/postgres.ts';
import { EmbeddedPostgres } from '../src/platform/servers/embedded-postgres.ts';
import { NO_MERGES } from '../src/resolve/known-merges.ts';
import type { Measured } from './measured.ts';

const ACCOUNTS = 100_000;
const WITH_ORIGINS = 'apply_transactions_per_s';
const WITHOUT_ORIGINS = 'apply_transactions_without_origins_per_s';
const TABLE = `create table public.accounts (aid int primary key, bid int, abalance int, filler char(84))`;
const FILL = `insert into public.accounts select i, 1 + i % 10, 0, '' from generate_series(1, ${ACCOUNTS}) i`;

/** Row updates in a fixed pseudo-random order: the same for both sides. */
function account(index: number): number {
  return 1 + (((index * 48_271) % 2_147_483_647) % ACCOUNTS);
}

export async function measureApply(transactions: number, rounds: number): Promise<Measured[]> {
  const measured: Measured[] = [];
  await using server = await EmbeddedPostgres.start({ version: 18, settings: { shared_buffers: '256MB' } });
  const told = (side: Measured['side'], metric: string, tookMs: number): void =>
    void measured.push({ side, metric, value: transactions / (tookMs / 1_000) });
  for (let round = 0; round < rounds; round += 1) {
    told('syncline', WITH_ORIGINS, await syncline(server, transactions, true));
    told('syncline', WITHOUT_ORIGINS, await syncline(server, transactions, false));
    const peers = await postgres(server, transactions);
    for (const metric of [WITH_ORIGINS, WITHOUT_ORIGINS]) told('postgresql', metric, peers);
  }
  return measured;
}

/** Milliseconds that applying took. */
async function syncline(server: EmbeddedPostgres, transactions: number, hasOrigins: boolean): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'syncline-bench-'));
  try {
    const url = server.url(await server.createDatabase());
    const client = await connect(url, { applicationName: 'bench' });
    await client.query(`${TABLE}; ${FILL}; alter table public.accounts replica identity full; checkpoint`);
    await migrate(client);
    await using log = await EmbeddedLog.open(directory);
    // Later than the rows that the table begins with: they are the baseline, and every update wins.
    const startMicros = BigInt(Date.now() + 1_000) * 1_000n;
    await fillLog(log, transactions, startMicros);
    const stability = new Stability('here', ['there']);
    stability.beganAt(hlcFromMicros(startMicros));
    const stopping = new AbortController();
    const done = Promise.withResolvers<void>();
    let applied = 0;
    const applier = new Applier({
      region: 'here',
      peers: ['there'],
      logOf: () => log,
      openSession: async () => {
        const port = await SqlApplyPort.connect(url, { region: 'here', hasOrigins });
        return {
          port,
          notes: new SqlNoteStore(client),
          orphans: new OrphanFinder({ client, isReplicated: () => true, onFound: () => {}, onMissed: () => {} }),
          [Symbol.asyncDispose]: async () => await port[Symbol.asyncDispose](),
        };
      },
      ledger: new NotesLedger(),
      stability,
      batchRowsMax: 5_000,
      causalWaitMs: 2_000,
      onError: 'stop',
      isReplicated: () => true,
      merges: { registry: async () => NO_MERGES, functions: async () => [] },
      publishedTo: () => null,
      isPaused: () => false,
      leadLimits: () => ({ waitMicros: 0n, holdMicros: 60_000_000n }),
      onHeartbeat: () => {},
      confirmedLsn: () => 0n,
      onState: (state) => {
        if (state.kind === 'failed' || state.kind === 'waiting') done.reject(state.error);
      },
      onApplied: (report) => {
        applied += report.events;
        if (applied >= transactions) done.resolve();
      },
      onBatch: () => {},
      prepareAcknowledgement: () => () => {},
      onChoreFault: (_chore, error) => {
        if (error !== null) done.reject(error);
      },
      onFault: (_origin, error) => {
        if (error !== null) done.reject(error);
      },
    });
    const startedMs = performance.now();
    const running = applier.run(stopping.signal);
    await done.promise;
    const tookMs = performance.now() - startedMs;
    stopping.abort();
    await running;
    await client.end();
    return tookMs;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What a capture of the other region would have published. */
async function fillLog(log: EmbeddedLog, transactions: number, startMicros: bigint): Promise<void> {
  const publisher = new Publisher({
    region: 'there',
    run: 1,
    epoch: '0000000000000000001',
    fork: null,
    after: null,
    writer: await log.writer('there'),
    ledger: new NotesLedger(),
    notesServer: { around: async () => ({ rows: [], end: 0n }), untilFlushed: async () => {} },
    stamper: new Stamper(),
    stability: new Stability('there', ['here']),
    merges: new ActiveMerges('there'),
    resumeAfter: null,
    confirmedLsn: 0n,
    predecessor: null,
    onDurable: () => {},
  });
  const filler = ' '.repeat(84);
  for (let index = 0; index < transactions; index += 1) {
    const row = { aid: String(account(index)), bid: '1', abalance: '0', filler };
    const lsn = BigInt(1_000 + index * 100);
    await publisher.begin({ xid: 1_000 + index, lsn, commitMicros: startMicros + BigInt(index * 50) });
    await publisher.change({
      schema: 'public',
      table: 'accounts',
      operation: 'UPDATE',
      key: ['aid'],
      before: row,
      after: { ...row, abalance: String(index) },
    });
    await publisher.commit(lsn + 50n);
  }
  await publisher.durable();
}

async function postgres(server: EmbeddedPostgres, transactions: number): Promise<number> {
  await using target = await EmbeddedPostgres.start({ version: 18, settings: { shared_buffers: '256MB' } });
  const sourceName = await server.createDatabase();
  const source = await connect(server.url(sourceName), { applicationName: 'bench', statementTimeoutMs: 600_000 });
  const targetName = await target.createDatabase();
  const there = await connect(target.url(targetName), { applicationName: 'bench', statementTimeoutMs: 600_000 });
  await source.query(`${TABLE}; ${FILL}; create publication bench for table public.accounts`);
  await there.query(`${TABLE}; ${FILL}; checkpoint`);
  await there.query(
    `create subscription bench connection '${server.url(sourceName)}' publication bench with (copy_data = false)`,
  );
  await there.query('alter subscription bench disable');
  await source.query(`set synchronous_commit = off`);
  await source.query(
    `create procedure public.work(n int) language plpgsql as $$ begin
       for i in 0 .. n - 1 loop
         update public.accounts set abalance = i where aid = 1 + (i::bigint * 48271) % 2147483647 % ${ACCOUNTS};
         commit;
       end loop; end $$`,
  );
  await source.query(`call public.work(${transactions})`);
  await source.query(`insert into public.accounts values (0, 0, 0, '')`);
  const startedMs = performance.now();
  await there.query('alter subscription bench enable');
  for (;;) {
    const { rows } = await there.query('select 1 from public.accounts where aid = 0');
    if (rows.length > 0) break;
    await delay(10);
  }
  const tookMs = performance.now() - startedMs;
  await there.query('drop subscription bench');
  await source.end();
  await there.end();
  return tookMs;
}
