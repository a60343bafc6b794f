/**
 * Merge rules in this region: what operators do with them, what its keeper does about them, who runs their functions
 * for the lane, and who runs those that are in shadow.
 */
import type { LaneOptions } from '../apply/lane/lane.ts';
import { Redaction } from '../apply/redaction.ts';
import { readOwnHistory } from '../clock/sql-own-history.ts';
import { readKnownMerges } from '../merge/lane-merges.ts';
import type { FunctionCheck } from '../merge/merge-definition.ts';
import { MergeKeeper } from '../merge/merge-keeper.ts';
import { MergeRegistry } from '../merge/merge-registry.ts';
import { ShadowJudge } from '../merge/shadow-judge.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { MergeSandbox } from '../resolve/sandbox/merge-sandbox.ts';

export type RegionMergesOptions = {
  readonly config: Pick<Config, 'region' | 'peers' | 'tables' | 'conflicts'>;
  readonly logger: Logger;
  readonly database: Queryable;
  /** Whether what is written now reaches the others. */
  readonly isCaptured: () => boolean;
  /** Whether the histories hold whatever may be concurrent with an event to come. */
  readonly isReady: () => boolean;
};

export class RegionMerges implements AsyncDisposable {
  readonly registry: MergeRegistry;
  readonly keeper: MergeKeeper;
  /** What the lane goes by. */
  readonly ofLane: NonNullable<LaneOptions['merges']>;
  /** Asks versions in shadow. */
  readonly shadows: ShadowJudge;
  /** Its thread starts with the first call. */
  readonly #sandbox = new MergeSandbox();
  /** For functions in shadow: none of them may hold up what merges. */
  readonly #shadowSandbox = new MergeSandbox();

  constructor({ config, logger, database, isCaptured, isReady }: RegionMergesOptions) {
    const { region, peers, tables, conflicts } = config;
    const common = { region, database, check: checkFunction, isCaptured };
    this.keeper = new MergeKeeper({
      ...common,
      members: [region, ...peers.map((peer) => peer.region)],
      ownEpoch: async () => (await readOwnHistory(database))?.epoch ?? null,
      isReady,
      logger,
    });
    this.registry = new MergeRegistry({ ...common, tables, onChange: () => this.keeper.wake() });
    const redaction = new Redaction(conflicts.redact);
    this.shadows = new ShadowJudge({
      database,
      sandbox: this.#shadowSandbox,
      withhold: (...image) => redaction.image(...image),
      logger,
    });
    this.ofLane = {
      registry: async () => await readKnownMerges({ region, database, sandbox: this.#sandbox }),
      functions: async (requests) => await this.#sandbox.merge(requests),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sandbox[Symbol.asyncDispose]();
    await this.#shadowSandbox[Symbol.asyncDispose]();
  }
}

/** In a sandbox of its own: an agent whose tables merge by no function keeps no thread for one. */
const checkFunction: FunctionCheck = async (version) => {
  await using sandbox = new MergeSandbox();
  await sandbox.check(version);
};
