/**
 * Does this region's part for the registry of merge rules: says of each version whether it can be run here, and lets the
 * region's events name what is wanted, once every member has said so.
 *
 *   rows that are there                                   what the keeper writes
 *   a version, and nothing of this region about it        an acknowledgement with a copy of it, or a refusal
 *   a wanted version, refused here                        the same again, once the reason is another one or gone
 *   an intent, and every member can run its versions      the region's activation
 *   the first heartbeat of a region that knows of these   all rows of this region once more
 *   own rows that came back from the log                  the same
 *
 * Nothing is remembered between two looks, so an agent that is killed anywhere goes on where the rows stand. It writes only
 * while capture streams: what is written while there is no slot would reach nobody.
 *
 * A region whose agent is upgraded later than this one has passed over what it was sent before; its heartbeats say from when
 * on it takes such rows in. And what a database that was restored gets back from the log is applied to it: capture, which
 * goes by what it sees in the WAL, has not seen it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Epoch } from '../change/position.ts';
import { type ErrorCode, isInfrastructure } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { type FunctionCheck, refusalOf } from './merge-definition.ts';
import {
  isBeingTold,
  type Registry,
  readDefinitions,
  readGreeted,
  readRegistry,
  saveAck,
  saveActivation,
  saveGreeted,
  sendAgain,
  type Version,
} from './registry-store.ts';
import { effectiveIntent, type Intent, isDue, tableText, versionsOf } from './rollout.ts';
import { readTableFacts } from './table-facts.ts';

const PERIOD_MS = 5_000;
const WAITING_MS = 200;

type Problem = { readonly code: ErrorCode; readonly detail: string; readonly table?: string };

export type MergeKeeperOptions = {
  readonly region: string;
  readonly members: readonly string[];
  readonly database: Queryable;
  readonly check: FunctionCheck;
  /** The epoch in which this database publishes. */
  readonly ownEpoch: () => Promise<Epoch | null>;
  /** Whether what is written now reaches the others. */
  readonly isCaptured: () => boolean;
  /** Whether the histories hold whatever may be concurrent with an event to come, of all tables with versions. */
  readonly isReady: () => boolean;
  readonly logger: Logger;
};

export class MergeKeeper {
  readonly #options: MergeKeeperOptions;
  readonly #knowing = new Set<string>();
  /** Whether a version that can be run here waits for its histories to be ready. */
  #isWaiting = false;
  #greeted: ReadonlySet<string> | null = null;
  #problems: readonly Problem[] = [];
  #wake = Promise.withResolvers<void>();
  /** Of own rows that were applied, and so came from the log. */
  readonly #appliedEpochs = new Set<Epoch>();

  constructor(options: MergeKeeperOptions) {
    this.#options = options;
  }

  /** Versions that are wanted and cannot be run here. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Rows of the registry may have changed, or more may be written now. */
  wake(): void {
    this.#wake.resolve();
  }

  /** A heartbeat of that region says that it takes in the registry. */
  heard(region: string): void {
    if (this.#knowing.has(region)) return;
    this.#knowing.add(region);
    this.wake();
  }

  /** Rows of the registry, of that region and epoch, were applied here. */
  applied(origin: string, epoch: Epoch): void {
    if (origin === this.#options.region) this.#appliedEpochs.add(epoch);
    this.wake();
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = this.#wake.promise;
      try {
        if (this.#options.isCaptured()) await this.#look();
      } catch (error) {
        const { logger } = this.#options;
        if (!isInfrastructure(error)) logger.warn({ err: error }, 'the registry of merge rules could not be looked at');
      }
      const rest = new AbortController();
      const limit = AbortSignal.any([signal, rest.signal]);
      await Promise.race([
        woken,
        delay(this.#isWaiting ? WAITING_MS : PERIOD_MS, undefined, { signal: limit }).catch(() => undefined),
      ]);
      rest.abort();
      this.#wake = Promise.withResolvers();
    }
  }

  async #look(): Promise<void> {
    const { database, region } = this.#options;
    this.#isWaiting = false;
    await this.#greet();
    const before = await readRegistry(database, region);
    await this.#acknowledge(before);
    const registry = await readRegistry(database, region);
    this.#problems = problemsOf(registry, region);
    for (const intent of wantedIn(registry)) await this.#follow(intent, registry);
  }

  async #greet(): Promise<void> {
    const { database, region, ownEpoch } = this.#options;
    this.#greeted ??= await readGreeted(database);
    const known = this.#greeted;
    const isNew = [...this.#knowing].some((each) => !known.has(each));
    const applied = [...this.#appliedEpochs];
    const epoch = applied.length === 0 ? null : await ownEpoch();
    if (isNew || applied.some((each) => each !== epoch)) {
      const greeted = new Set([...known, ...this.#knowing]);
      await sendAgain(database, region);
      await saveGreeted(database, greeted);
      this.#greeted = greeted;
    }
    for (const each of applied) this.#appliedEpochs.delete(each);
  }

  async #acknowledge(registry: Registry): Promise<void> {
    const { database, region, logger } = this.#options;
    const wanted = new Set(wantedIn(registry).flatMap(versionsOf));
    for (const version of registry.versions) {
      const { version_id, schema_name, table_name } = version;
      const ack = registry.acks.find((each) => each.region === region && each.version_id === version_id);
      const isReady = this.#options.isReady();
      const isDone = ack?.verdict === 'ok' && registry.copied.has(version_id);
      if (isDone && (ack.is_ready || !isReady)) {
        // Its time comes: the watermark moves on with the heartbeats.
        if (!ack.is_ready) this.#isWaiting = true;
        continue;
      }
      if (ack?.verdict === 'refused' && !wanted.has(version_id)) continue;
      const refusal = await this.#refusalOf(version);
      if (ack?.verdict === 'refused' && ack.reason === refusal) continue;
      await saveAck(database, region, version_id, refusal, isReady);
      if (refusal === null && !isReady) this.#isWaiting = true;
      if (isDone) continue;
      const told = { version: version_id, table: `${schema_name}.${table_name}` };
      if (refusal === null) logger.info(told, 'the merge rule can be run here');
      else logger.warn({ ...told, reason: refusal }, 'the merge rule cannot be run here');
    }
  }

  async #refusalOf({ version_id, schema_name, table_name }: Version): Promise<string | null> {
    const { database, check } = this.#options;
    const definition = (await readDefinitions(database, [version_id], { withSources: true })).get(version_id);
    if (definition === undefined) return 'this version of Syncline cannot read it';
    if (await isBeingTold(database, schema_name, table_name))
      return 'rows of the table are just being told to all regions';
    return await refusalOf(version_id, definition, await readTableFacts(database, schema_name, table_name), check);
  }

  async #follow(intent: Intent, registry: Registry): Promise<void> {
    const { database, region, members, logger } = this.#options;
    const own = registry.activations.find((each) => each.region === region && tableText(each) === tableText(intent));
    if (!isDue(intent, own ?? null, members, registry.acks)) return;
    await saveActivation(database, region, intent);
    const { schema_name, table_name, version_id, mode, percent } = intent;
    logger.info(
      { table: `${schema_name}.${table_name}`, version: version_id, mode, percent },
      'events of the table name another merge rule from now on',
    );
  }
}

/** Of each table the intent that counts. */
export function wantedIn({ intents }: Registry): Intent[] {
  const byTable = Map.groupBy(intents, tableText);
  return [...byTable.values()].flatMap((each) => effectiveIntent(each) ?? []);
}

function problemsOf(registry: Registry, region: string): Problem[] {
  return wantedIn(registry).flatMap((intent) =>
    registry.acks
      .filter(
        (ack) => ack.region === region && ack.verdict === 'refused' && versionsOf(intent).includes(ack.version_id),
      )
      .map(({ version_id, reason }) => {
        const table = `${intent.schema_name}.${intent.table_name}`;
        return { code: 'SYN-A100', detail: `${table}: version ${version_id}: ${reason}`, table } as const;
      }),
  );
}
