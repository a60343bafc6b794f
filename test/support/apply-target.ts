// A database that only the apply port writes to, beside a session for the test: for tests that bring
// their own tables.

import assert from 'node:assert/strict';
import type { ApplyTransaction, TableShape, UpsertRow } from '../../src/apply/apply-port.ts';
import { SqlApplyPort, type SqlApplyPortOptions } from '../../src/apply/sql/sql-apply-port.ts';
import type { Image } from '../../src/change/change-event.ts';
import { type Hlc, hlcFromMicros } from '../../src/change/hlc.ts';
import { rowKey } from '../../src/change/row-key.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient, type TextValue } from '../../src/platform/postgres.ts';
import type { PostgresServer } from './postgres-server.ts';

const STAMP = 1_700_000_000_000_000n;

export class ApplyTarget implements AsyncDisposable {
  readonly url: string;
  readonly client: PostgresClient;
  readonly port: SqlApplyPort;

  private constructor(url: string, client: PostgresClient, port: SqlApplyPort) {
    this.url = url;
    this.client = client;
    this.port = port;
  }

  static async start(server: PostgresServer, options: Partial<SqlApplyPortOptions> = {}): Promise<ApplyTarget> {
    const url = server.url(await server.createDatabase());
    const client = await connect(url, { applicationName: 'test' });
    await migrate(client);
    return new ApplyTarget(url, client, await SqlApplyPort.connect(url, { region: 'home', ...options }));
  }

  async shape(table: string, schema = 'public'): Promise<TableShape> {
    const shape = await this.port.shape(schema, table);
    assert.ok(shape !== null, `${schema}.${table} is there`);
    return shape;
  }

  /** Begins for origin r1, works and commits. */
  async apply<T>(work: (transaction: ApplyTransaction) => Promise<T>, stampMicros = STAMP): Promise<T> {
    const transaction = await this.port.begin('r1', stampMicros);
    try {
      const result = await work(transaction);
      await transaction.commit();
      return result;
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
  }

  /** Values of the first column. */
  async column(sql: string, values: readonly TextValue[] = []): Promise<TextValue[]> {
    return (await this.client.queryArrays(sql, values)).rows.map(([value]) => value ?? null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.port[Symbol.asyncDispose]();
    await this.client.end();
  }
}

/** A row of an image that holds its key. */
export function rowOf(shape: TableShape, image: Image, hlc: Hlc = hlcFromMicros(STAMP)): UpsertRow {
  const pk = Object.fromEntries(shape.key.map((name) => [name, image[name] ?? null]));
  return { key: rowKey(shape, pk), pk, image, hlc };
}
