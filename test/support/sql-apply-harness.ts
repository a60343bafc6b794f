// The harness of the apply port's contract over a real PostgreSQL: one server for a suite, a database
// of its own for every test. A lock wait is seen where the server itself reports it.

import type { ConflictEntry } from '../../src/apply/apply-port.ts';
import { SqlApplyPort } from '../../src/apply/sql/sql-apply-port.ts';
import type { Image } from '../../src/change/change-event.ts';
import { type Hlc, hlcFromText } from '../../src/change/hlc.ts';
import { lsnFromText } from '../../src/change/position.ts';
import { Snapshot } from '../../src/clock/snapshot.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient, type TextRow, type TextValue } from '../../src/platform/postgres.ts';
import type { PostgresMajor } from '../../src/platform/servers/postgres-binaries.ts';
import type {
  ApplyPortHarness,
  Foreground,
  HarnessOptions,
  KvRow,
  KvTuple,
  MakeHarness,
} from './apply-port-harness.ts';
import { UNSTAMPED_ROW } from './apply-port-harness.ts';
import { PostgresServer } from './postgres-server.ts';
import { waitFor } from './wait-for.ts';

const REGION = 'home';
const LOCK_TIMEOUT_MS = { long: 60_000, short: 250 } as const;
const TABLE_SQL = 'create table public.kv (id int primary key, v text, u text unique)';
const EMPTY = 'kv_empty';
const UNSTAMPED = 'kv_unstamped';
const TOOL = 'another_tool';

export type SqlHarnesses = AsyncDisposable & { readonly server: PostgresServer; readonly make: MakeHarness };

/**
 * Starts a server. The databases that tests copy are made before commit timestamps are kept, so what they hold has none:
 * a copy's tuples keep their xmin.
 */
export async function startSqlHarnesses(version: PostgresMajor): Promise<SqlHarnesses> {
  // The foreground looks for deadlocks late, so that a test sees who gives way before it would.
  const settings = { track_commit_timestamp: 'off', deadlock_timeout: '20s', fsync: 'off' };
  const server = await PostgresServer.start({ version, settings });
  for (const name of [EMPTY, UNSTAMPED]) {
    await server.createDatabase(name);
    await using client = await connect(server.url(name), { applicationName: 'template' });
    await migrate(client);
    await client.query(TABLE_SQL);
    const { id, v, u } = UNSTAMPED_ROW;
    if (name === UNSTAMPED) await client.query('insert into public.kv values ($1, $2, $3)', [String(id), v, u]);
  }
  await server.restart({ track_commit_timestamp: 'on' });
  return {
    server,
    make: (options) => SqlHarness.make(server, options),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

type Stream = { began: Snapshot | null };

class SqlHarness implements ApplyPortHarness {
  readonly region = REGION;
  readonly port: SqlApplyPort;
  readonly #server: PostgresServer;
  readonly #database: string;
  readonly #observer: PostgresClient;
  readonly #stream: Stream;
  readonly #sessions: SqlForeground[] = [];

  private constructor(
    server: PostgresServer,
    database: string,
    observer: PostgresClient,
    port: SqlApplyPort,
    stream: Stream,
  ) {
    this.#server = server;
    this.#database = database;
    this.#observer = observer;
    this.port = port;
    this.#stream = stream;
  }

  static async make(server: PostgresServer, options: HarnessOptions): Promise<SqlHarness> {
    await using admin = await connect(server.url(), { applicationName: 'admin' });
    const name = `kv_${crypto.randomUUID()}`;
    const template = options.unstamped === true ? UNSTAMPED : EMPTY;
    // As files where the server would send each page through the WAL, which takes three times as long; 14 knows no other way.
    const strategy = server.version >= 15 ? 'strategy file_copy' : '';
    await admin.query(`create database "${name}" template ${template} ${strategy}`);
    const url = server.url(name);
    const observer = await connect(url, { applicationName: 'observer' });
    const lockTimeoutMs = LOCK_TIMEOUT_MS[options.lockWaits];
    const stream: Stream = { began: null };
    const hasOrigins = options.signs !== true;
    const began = (): Snapshot | null => stream.began;
    const port = await SqlApplyPort.connect(url, { region: REGION, lockTimeoutMs, began, hasOrigins });
    return new SqlHarness(server, name, observer, port, stream);
  }

  async foreground(): Promise<Foreground> {
    const client = await connect(this.#server.url(this.#database), { applicationName: 'foreground' });
    // Its commits are not on disk for a while, so a note that looked at what is flushed would lie too low.
    await client.query('set synchronous_commit = off');
    const session = new SqlForeground(client);
    this.#sessions.push(session);
    return session;
  }

  async rows(): Promise<KvRow[]> {
    const { rows } = await this.#observer.query('select id, v, u from public.kv order by id');
    return rows.map(({ id, v, u }) => ({ id: Number(id), v: v ?? null, u: u ?? null }));
  }

  async tuple(id: number): Promise<KvTuple | null> {
    const { rows } = await this.#observer.query(
      `select t.xmin, o.roname as origin, a.origin as author,
              (extract(epoch from coalesce(a.stamp, s."timestamp")) * 1000000)::bigint as stamp
         from public.kv t cross join lateral pg_xact_commit_timestamp_origin(t.xmin) s
         left join pg_replication_origin o on o.roident = s.roident
         left join syncline.author a on a.tuple_xid = t.xmin
        where t.id = $1::int`,
      [String(id)],
    );
    const row = rows[0];
    if (row === undefined) return null;
    const origin = row.author ?? /^syncline_\d+_(.+)$/.exec(row.origin ?? '')?.[1];
    return {
      xid: Number(row.xmin),
      stampMicros: typeof row.stamp === 'string' ? BigInt(row.stamp) : null,
      writer: origin ?? REGION,
      local: origin === undefined,
      foreign: origin === undefined && row.origin != null,
    };
  }

  async walPosition(): Promise<bigint> {
    const { rows } = await this.#observer.query('select pg_current_wal_insert_lsn() as lsn');
    return lsnFromText(rows[0]?.lsn ?? '');
  }

  async beginStream(): Promise<void> {
    const { rows } = await this.#observer.query('select pg_current_snapshot()::text as snapshot');
    this.#stream.began = Snapshot.parse(rows[0]?.snapshot ?? '');
  }

  async tellRows(above: Hlc | null): Promise<void> {
    if (above === null) await this.#observer.query('delete from syncline.transfer_hold');
    else
      await this.#observer.query(
        `insert into syncline.transfer_hold (rel, generation, above, sealed) values ('"public"."kv"', 1, $1, '1:1:')`,
        [String(above)],
      );
  }

  async blocked(who: 'port' | Foreground): Promise<void> {
    const pid = who === 'port' ? this.port.processId : (who as SqlForeground).processId;
    const sql = "select from pg_stat_activity where pid = $1::int and wait_event_type = 'Lock'";
    await waitFor(async () => (await this.#observer.query(sql, [String(pid)])).rowCount === 1, {
      what: `${who === 'port' ? 'the port' : 'the session'} waits for a lock`,
    });
  }

  async expireLockWait(): Promise<void> {
    // The server's own timer ends it.
  }

  async conflicts(): Promise<ConflictEntry[]> {
    const { rows } = await this.#observer.query('select * from syncline.conflict_log order by conflict_id');
    return rows.map(toConflictEntry);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([
      this.port[Symbol.asyncDispose](),
      this.#observer.end(),
      ...this.#sessions.map((each) => each.end()),
    ]);
    // Origins belong to the cluster, which has room for few of them.
    await using admin = await connect(this.#server.url(), { applicationName: 'admin' });
    const { rows } = await admin.query(
      `select roname from pg_replication_origin, pg_database
        where datname = $1 and starts_with(roname, format('syncline_%s_', pg_database.oid))`,
      [this.#database],
    );
    for (const { roname } of rows) await admin.query('select pg_replication_origin_drop($1)', [roname ?? '']);
    await admin.query(`drop database "${this.#database}" with (force)`);
  }
}

class SqlForeground implements Foreground {
  readonly #client: PostgresClient;
  #isTool = false;

  constructor(client: PostgresClient) {
    this.#client = client;
  }

  get processId(): number | undefined {
    return this.#client.processId;
  }

  async begin(): Promise<void> {
    await this.#run('begin');
  }

  async insert({ id, v, u }: KvRow): Promise<void> {
    await this.#run('insert into public.kv (id, v, u) values ($1::int, $2, $3)', [String(id), v, u]);
  }

  async update(id: number, change: Partial<Omit<KvRow, 'id'>>): Promise<number> {
    const columns = Object.entries(change);
    const set = columns.map(([name], place) => `${name} = $${place + 2}`).join(', ');
    const values = columns.map(([, value]) => value ?? null);
    return await this.#run(`update public.kv set ${set} where id = $1::int`, [String(id), ...values]);
  }

  async changeKey(id: number, to: number): Promise<number> {
    return await this.#run('update public.kv set id = $2::int where id = $1::int', [String(id), String(to)]);
  }

  async delete(id: number): Promise<number> {
    return await this.#run('delete from public.kv where id = $1::int', [String(id)]);
  }

  async truncate(): Promise<void> {
    await this.#run('truncate public.kv');
  }

  async lock(id: number, strength: 'update' | 'key share'): Promise<void> {
    await this.#run(`select from public.kv where id = $1::int for ${strength}`, [String(id)]);
  }

  async foreignOrigin(stampMicros: bigint): Promise<void> {
    // Origins belong to the cluster: it is there from the second test on.
    await this.#run(
      `select pg_replication_origin_create($1) where not exists (select from pg_replication_origin where roname = $1)`,
      [TOOL],
    );
    await this.#run('select pg_replication_origin_session_setup($1)', [TOOL]);
    this.#isTool = true;
    await this.#run(`select pg_replication_origin_xact_setup('0/1', 'epoch'::timestamptz + $1 * '1 us'::interval)`, [
      String(stampMicros),
    ]);
  }

  async savepoint(name: string): Promise<void> {
    await this.#run(`savepoint ${name}`);
  }

  async rollbackTo(name: string): Promise<void> {
    await this.#run(`rollback to savepoint ${name}`);
  }

  async commit(): Promise<void> {
    await this.#client.commit();
    if (this.#isTool) await this.#run('select pg_replication_origin_session_reset()');
    this.#isTool = false;
  }

  async rollback(): Promise<void> {
    await this.#run('rollback');
  }

  async xid(): Promise<number> {
    const { rows } = await this.#client.query('select pg_current_xact_id_if_assigned()::xid as xid');
    return Number(rows[0]?.xid);
  }

  async end(): Promise<void> {
    await this.#client.end();
  }

  async #run(sql: string, values: readonly TextValue[] = []): Promise<number> {
    return (await this.#client.query(sql, values)).rowCount;
  }
}

function toConflictEntry(row: TextRow): ConflictEntry {
  const image = (text: TextValue | undefined): Image | null => (typeof text === 'string' ? JSON.parse(text) : null);
  return {
    conflict_id: row.conflict_id ?? '',
    event_id_a: row.event_id_a ?? null,
    event_id_b: row.event_id_b ?? null,
    schema_name: row.schema_name ?? '',
    table_name: row.table_name ?? '',
    row_pk: image(row.row_pk) ?? {},
    resolution_strategy: row.resolution_strategy ?? '',
    merge_version: row.merge_version ?? null,
    winner_event_id: row.winner_event_id ?? null,
    loser: { hlc: hlcFromText(row.loser_hlc ?? ''), origin: row.loser_origin ?? '' },
    winner: { hlc: hlcFromText(row.winner_hlc ?? ''), origin: row.winner_origin ?? '' },
    image_a: image(row.image_a),
    image_b: image(row.image_b),
    base_image: image(row.base_image),
    result_image: image(row.result_image),
    provisional: row.provisional === 't',
    provisional_reason:
      row.provisional_reason === null ? null : (row.provisional_reason as ConflictEntry['provisional_reason']),
  };
}
