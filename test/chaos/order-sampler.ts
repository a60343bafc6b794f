/**
 * Readers, one in each region, who look again and again whether they are shown an origin's transactions whole and in order.
 *
 * Each client of the workload writes its two rows of `paired` in one transaction, with a number that it has not used before.
 * So in any snapshot, anywhere, both rows have one number, and no number is below the one that was read before. A server that
 * crashes may take back what it applied last, with all that came behind it (ADR 13), and has it again once the log was read; so what a
 * reader knows ends with the server that told it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresClient } from '../../src/platform/postgres.ts';
import type { ClusterRegion } from '../support/cluster.ts';

const REST_MS = 20;
const VIOLATIONS_MAX = 20;

export class OrderSampler implements AsyncDisposable {
  readonly violations: string[] = [];
  samples = 0;
  readonly #stop = new AbortController();
  readonly #readers: Promise<void>[];

  constructor(regions: readonly ClusterRegion[]) {
    this.#readers = regions.map(async (region) => await this.#read(region));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#readers);
  }

  async #read(region: ClusterRegion): Promise<void> {
    const highest = new Map<string, bigint>();
    let server: string | null | undefined;
    let client: PostgresClient | null = null;
    while (!this.#stop.signal.aborted) {
      try {
        if (client === null) {
          client = await region.session();
          const started = (await client.query('select pg_postmaster_start_time() as started')).rows[0]?.started;
          if (started !== server) highest.clear();
          server = started;
        }
        const { rows } = await client.query('select client, min(n) as low, max(n) as high from paired group by client');
        this.samples += 1;
        for (const row of rows) this.#look(region.name, row, highest);
      } catch {
        // The server is away, as planned: what matters is what it shows when it is back.
        client?.destroy();
        client = null;
      }
      await delay(REST_MS);
    }
    await client?.end();
  }

  #look(region: string, row: Readonly<Record<string, string | null>>, highest: Map<string, bigint>): void {
    const client = row.client ?? '';
    const low = BigInt(row.low ?? 0);
    const before = highest.get(client) ?? 0n;
    if (row.low !== row.high) this.#tell(`${region}: the halves of ${client} are ${row.low} and ${row.high}`);
    else if (low < before) this.#tell(`${region}: ${client} goes back from ${before} to ${low}`);
    if (low > before) highest.set(client, low);
  }

  #tell(violation: string): void {
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push(violation);
  }
}
