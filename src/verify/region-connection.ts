// One region's database as the comparison reads it: short READ COMMITTED statements on one connection,
// so that no snapshot is held for longer than a range takes and vacuum is not kept from its work.
//
// A comparison of a large table takes long enough to meet a restart or a cut line. Statements only
// read, so each is simply sent again on a new connection, for a bounded time.

import { setTimeout as delay } from 'node:timers/promises';
import { Backoff } from '../platform/backoff.ts';
import { isInfrastructure } from '../platform/errors.ts';
import { connect, type PostgresClient, type TextValue } from '../platform/postgres.ts';
import { systemRandom } from '../platform/random.ts';
import type { Key, KeyedRow, KeyRange, RangeDigest, RangeSource } from './key-range.ts';
import { parkedOf } from './parked-rows.ts';
import { RangeStatements, type RowSet, rowsOf, SESSION_SETTINGS, type Statement } from './range-statements.ts';
import { readDefinitions, type TableDefinition } from './table-definition.ts';

const STATEMENT_TIMEOUT_MS = 300_000;
const RETRY_LIMIT_MS = 30_000;

/** A row found by its key. */
export interface FoundRow {
  /** Of the columns outside of the key. */
  readonly digest: string;
  /** As this region spells it. */
  readonly key: Key;
}

/** What settling suspects asks of one region about one table. */
export interface RowSource {
  /** Per key the row, or null where there is none. */
  lookUp(keys: readonly Key[]): Promise<(FoundRow | null)[]>;
}

export class RegionConnection {
  readonly region: string;
  readonly #url: string;
  #client: Promise<PostgresClient> | undefined;

  private constructor(region: string, url: string) {
    this.region = region;
    this.#url = url;
  }

  /** Connects once: what cannot be reached at the start is reported at once. */
  static async open(region: string, url: string): Promise<RegionConnection> {
    const connection = new RegionConnection(region, url);
    connection.#client = connection.#connect();
    await connection.#client;
    return connection;
  }

  async definitions(): Promise<TableDefinition[]> {
    return await this.#retry(readDefinitions);
  }

  table(definition: TableDefinition): RegionTable {
    return this.#read(rowsOf(definition));
  }

  /** What is parked of the table; SYN-V005 where the role may not see it. */
  async parked(definition: TableDefinition): Promise<RegionTable> {
    return this.#read(await this.#retry((client) => parkedOf(client, this.region, definition)));
  }

  #read(rows: RowSet): RegionTable {
    const run = (statement: Statement): Promise<Row[]> =>
      this.#retry(async (client) => (await client.queryArrays(statement.sql, statement.values)).rows);
    return new RegionTable(new RangeStatements(rows), run);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.end();
  }

  async #retry<T>(work: (client: PostgresClient) => Promise<T>): Promise<T> {
    const backoff = new Backoff({ random: systemRandom });
    const limit = performance.now() + RETRY_LIMIT_MS;
    for (;;) {
      this.#client ??= this.#connect();
      const connecting = this.#client;
      try {
        return await work(await connecting);
      } catch (error) {
        const client = await connecting.catch(() => undefined);
        if (client?.lost.aborted !== false && this.#client === connecting) this.#client = undefined;
        if (!isInfrastructure(error) || performance.now() > limit) throw error;
        await delay(backoff.nextMs());
      }
    }
  }

  async #connect(): Promise<PostgresClient> {
    const options = { applicationName: 'syncline verify', statementTimeoutMs: STATEMENT_TIMEOUT_MS };
    const client = await connect(this.#url, options);
    try {
      await client.query(SESSION_SETTINGS);
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }
}

type Row = readonly TextValue[];

/** The rows of one table in one region, or what is parked of it. */
export class RegionTable implements RangeSource, RowSource {
  readonly #statements: RangeStatements;
  readonly #run: (statement: Statement) => Promise<Row[]>;

  constructor(statements: RangeStatements, run: (statement: Statement) => Promise<Row[]>) {
    this.#statements = statements;
    this.#run = run;
  }

  async digest(range: KeyRange, rowsMax: number): Promise<RangeDigest> {
    const [row] = await this.#run(this.#statements.digest(range, rowsMax));
    return { rows: Number(row?.[0] ?? 0), digest: row?.[1] ?? null };
  }

  async bounds(range: KeyRange, every: number, count: number): Promise<Key[]> {
    return (await this.#run(this.#statements.bounds(range, every, count))).map(keyOf);
  }

  async rows(range: KeyRange, rowsMax: number): Promise<KeyedRow[]> {
    const rows = await this.#run(this.#statements.rows(range, rowsMax));
    return rows.map(([digest, ...key]) => ({ digest: digest ?? '', key: keyOf(key) }));
  }

  async sample(count: number): Promise<Key[]> {
    const statement = this.#statements.sample(count);
    return statement === null ? [] : (await this.#run(statement)).map(keyOf);
  }

  async order(keys: readonly Key[]): Promise<number[]> {
    return (await this.#run(this.#statements.order(keys))).map(([place]) => Number(place));
  }

  async lookUp(keys: readonly Key[]): Promise<(FoundRow | null)[]> {
    const found: (FoundRow | null)[] = keys.map(() => null);
    for (const [place, digest, ...key] of await this.#run(this.#statements.lookUp(keys))) {
      found[Number(place) - 1] = { digest: digest ?? '', key: keyOf(key) };
    }
    return found;
  }

  /** Per key the columns with their values, or null where there is no row. */
  async details(keys: readonly Key[]): Promise<(ReadonlyMap<string, TextValue> | null)[]> {
    const found: (ReadonlyMap<string, TextValue> | null)[] = keys.map(() => null);
    for (const [place, ...values] of await this.#run(this.#statements.details(keys))) {
      found[Number(place) - 1] = new Map(this.#statements.columns.map((name, index) => [name, values[index] ?? null]));
    }
    return found;
  }
}

const keyOf = (row: Row): Key => row.map((value) => value ?? '');
