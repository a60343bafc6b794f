/** Databases that are compared with each other, each test's own, on servers of several versions in turn. */
import assert from 'node:assert/strict';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { type VerifyOptions, verifyRegions } from '../../src/verify/verify-regions.ts';
import type { TableReport, VerifyReport } from '../../src/verify/verify-report.ts';
import type { PostgresServer } from './postgres-server.ts';

export const NAMES = ['here', 'there', 'beyond'];

export class Regions implements AsyncDisposable {
  readonly urls: readonly string[];
  readonly clients: readonly PostgresClient[];

  private constructor(urls: readonly string[], clients: readonly PostgresClient[]) {
    this.urls = urls;
    this.clients = clients;
  }

  static async start(servers: readonly PostgresServer[], count: number, databaseOptions = ''): Promise<Regions> {
    const urls: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const server = servers[index % servers.length] as PostgresServer;
      const name = `v_${Math.random().toString(36).slice(2)}`;
      await using admin = await connect(server.url(), { applicationName: 'test' });
      await admin.query(`create database ${name} ${index === count - 1 ? databaseOptions : ''}`);
      urls.push(server.url(name));
    }
    return new Regions(urls, await Promise.all(urls.map((url) => connect(url, { applicationName: 'test' }))));
  }

  /** In all regions at once. */
  async all(sql: string): Promise<void> {
    await Promise.all(this.clients.map((client) => client.query(sql)));
  }

  async in(region: string, sql: string): Promise<void> {
    await this.clients[NAMES.indexOf(region)]?.query(sql);
  }

  async verify(options: Partial<VerifyOptions> = {}): Promise<VerifyReport> {
    const tables = { include: ['public.*'], exclude: ['public.left_out*'] };
    const regions = this.urls.map((url, index) => ({ region: NAMES[index] ?? '', url, tables }));
    return await verifyRegions({ regions, settleMs: 200, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.end()));
  }
}

export function tableOf(report: VerifyReport, table: string): TableReport {
  const found = report.tables.find((each) => each.table === table);
  assert.ok(found, `${table} is in the report`);
  return found;
}
