/**
 * Tests that share one cluster of three regions, each with tables of its own.
 *
 * A trap names its tables beside its steps; all of them are made before the agents start, in every region. After every
 * trap nothing may be left in quarantine and no link may stand still: a trap that means to break one mends it itself.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { lsnFromText, parsePosition, positionLsn } from '../../src/change/position.ts';
import { Cluster, type ClusterRegion } from './cluster.ts';
import { waitFor } from './wait-for.ts';

type Row = (string | null)[];

export type TrapOptions = {
  readonly settings?: Readonly<Record<string, string>>;
  /** The `tables` of every agent's configuration, in YAML's flow style. */
  readonly tables?: string;
  /** Run once in every region before any trap's tables are made. */
  readonly schema?: string;
};

export type AddTrap = (name: string, schema: string, run: (world: TrapWorld) => Promise<void>) => void;

/** The three regions of a file of traps, and what its steps are made of. */
export class TrapWorld {
  readonly cluster: Cluster;
  readonly eu: ClusterRegion;
  readonly us: ClusterRegion;
  readonly ap: ClusterRegion;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.eu = cluster.region('eu');
    this.us = cluster.region('us');
    this.ap = cluster.region('ap');
  }

  get regions(): readonly ClusterRegion[] {
    return this.cluster.regions;
  }

  async settle(): Promise<void> {
    await this.cluster.settle();
  }

  /** In every region, which must agree on it, once all of them have everything. */
  async everywhere(query: string, expected: readonly (readonly (string | null)[])[]): Promise<void> {
    await this.settle();
    assert.deepEqual(await this.cluster.equal(query), expected, query);
  }

  /** The rows of a query in every region, which must agree on them, once all of them have everything. */
  async agreed(query: string): Promise<Row[]> {
    await this.settle();
    return await this.cluster.equal(query);
  }

  /** Runs the steps while no region hears of another, so that what different regions do is concurrent. */
  async apart(steps: () => Promise<void>): Promise<void> {
    await this.settle();
    await this.pause(...ALL_LINKS);
    await steps();
  }

  /** Links as `source:target`; each is paused by the agent of its target. */
  async pause(...links: readonly string[]): Promise<void> {
    await this.#patch(links, 'paused');
  }

  async resume(...links: readonly string[]): Promise<void> {
    await this.#patch(links, 'active');
  }

  async resumeAll(): Promise<void> {
    await this.resume(...ALL_LINKS);
  }

  /** Waits until the target has applied everything that the source has committed so far. */
  async arrived(source: ClusterRegion, target: ClusterRegion): Promise<void> {
    const end = lsnFromText((await source.one('select pg_current_wal_insert_lsn()')) ?? '0/0');
    await waitFor(
      async () => {
        const position = await target.one(`select position from syncline.applied where origin = '${source.name}'`);
        return position !== null && positionLsn(parsePosition(position)) >= end;
      },
      { what: `${target.name} to apply what ${source.name} has; its agent printed:\n${target.output.slice(-4_000)}` },
    );
  }

  /**
   * Lets everything that is held back go to `at` in the order of the sources, one after another, and then everywhere.
   */
  async arriveInOrder(at: ClusterRegion, sources: readonly ClusterRegion[]): Promise<void> {
    for (const source of sources) {
      await this.resume(`${source.name}:${at.name}`);
      await this.arrived(source, at);
    }
    await this.resumeAll();
    await this.settle();
  }

  async waitForValue(region: ClusterRegion, query: string, expected: string | null): Promise<void> {
    await waitFor(async () => (await region.one(query)) === expected, {
      what: `${query} to give ${expected} in ${region.name}; its agent printed:\n${region.output.slice(-2_000)}`,
    });
  }

  /** Waits until every region publishes the tables, given as `schema.table`. */
  async published(...tables: readonly string[]): Promise<void> {
    const names = tables.map((name) => `'${name}'`).join(', ');
    for (const region of this.regions) {
      await this.waitForValue(
        region,
        `select count(*) from pg_publication_tables where schemaname || '.' || tablename in (${names})`,
        String(tables.length),
      );
    }
  }

  async inAll(sql: string): Promise<void> {
    await Promise.all(this.regions.map(async (region) => await region.sql(sql)));
  }

  /** Quarantined events of all regions. */
  async quarantined(): Promise<Row[]> {
    const query = `select origin, schema_name || '.' || table_name, row_pk, sqlstate, error from syncline.quarantine`;
    return (await Promise.all(this.regions.map(async (region) => await region.sql(query)))).flat();
  }

  /** Links that are not active, with the reason that the API gives. */
  async troubled(): Promise<unknown[]> {
    const links = await Promise.all(this.regions.map(async (region) => await linksOf(region)));
    return links.flat().filter(({ status }) => status !== 'active');
  }

  async #patch(links: readonly string[], status: 'paused' | 'active'): Promise<void> {
    await Promise.all(
      links.map(async (link) => {
        const target = this.cluster.region(link.split(':')[1] ?? '');
        const answer = await fetch(`${target.api}/topology/links/${encodeURIComponent(link)}`, {
          method: 'PATCH',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ status }),
        });
        assert.equal(answer.status, 200, `${link}: ${await answer.text()}`);
      }),
    );
  }
}

export type LinkView = { readonly link_id: string; readonly status: string };

/** The links that end in a region, as its agent tells. */
export async function linksOf(region: ClusterRegion): Promise<LinkView[]> {
  const answer = await fetch(`${region.api}/topology`);
  assert.equal(answer.status, 200);
  const { links } = (await answer.json()) as { links: LinkView[] };
  return links.filter(({ link_id }) => link_id.endsWith(`:${region.name}`));
}

const NAMES = ['eu', 'us', 'ap'];
const ALL_LINKS = NAMES.flatMap((source) =>
  NAMES.filter((target) => target !== source).map((target) => `${source}:${target}`),
);

/** Declares a suite; the function it is given adds its traps. */
export function traps(title: string, options: TrapOptions, declare: (trap: AddTrap) => void): void {
  describe(title, { concurrency: false }, () => {
    const schemas: string[] = [options.schema ?? ''];
    let world: TrapWorld | undefined;
    before(async () => {
      world = new TrapWorld(
        await Cluster.start({
          regions: NAMES,
          schema: schemas.join(';\n'),
          config: `capture: { heartbeat_ms: 100 }\ntables: ${options.tables ?? "{ include: ['public.*'] }"}`,
          ...(options.settings === undefined ? {} : { settings: options.settings }),
        }),
      );
    });
    after(async () => await world?.cluster[Symbol.asyncDispose]());
    declare((name, schema, run) => {
      schemas.push(schema);
      test(name, async () => {
        assert.ok(world, 'the regions have started');
        await run(world);
        await world.settle();
        assert.deepEqual(await world.quarantined(), [], 'nothing is in quarantine');
        assert.deepEqual(await world.troubled(), [], 'every link is active');
      });
    });
  });
}
