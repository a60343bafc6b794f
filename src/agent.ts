/**
 * One region: everything that its agent does, put together. Capture publishes what this database commits; apply writes
 * what the others published; both meet in the log and in the clock's ledger. What is kept going, counted and told of each
 * part is in `region/`.
 *
 * The order of a start is part of correctness. The lease comes first, so that no other agent of this region is at work.
 * Then apply reads what was noted, because capture must not stamp a transaction before the ledger knows every note; and
 * only then capture takes the slot.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Mark } from './apply/apply-port.ts';
import type { BaselineGates } from './apply/lane/baseline-gates.ts';
import type { Reapplied } from './apply/sql/loser-write.ts';
import { Lease } from './capture/lease.ts';
import { captureName } from './capture/tables/publication.ts';
import type { Image } from './change/change-event.ts';
import { NotesLedger } from './clock/notes-ledger.ts';
import { Stability } from './clock/stability.ts';
import type { EventLog } from './log/event-log.ts';
import type { MergeRegistry } from './merge/merge-registry.ts';
import type { AgentControl, AgentStatus, LinkPolicy, ReplicationLink } from './monitor/agent-status.ts';
import { StandbyWatch } from './monitor/checks/standby-watch.ts';
import { dropOldConflicts } from './monitor/conflict-retention.ts';
import { Backoff } from './platform/backoff.ts';
import type { Config } from './platform/config.ts';
import type { Logger } from './platform/logger.ts';
import { systemRandom } from './platform/random.ts';
import { StandingConnection } from './platform/standing-connection.ts';
import { unlessAborted } from './platform/unless-aborted.ts';
import { ApplyKeeper } from './region/apply-keeper.ts';
import { ApplySessions } from './region/apply-sessions.ts';
import { CaptureKeeper } from './region/capture-keeper.ts';
import { prepareDatabase, upgradeDatabase } from './region/database-start.ts';
import { IncomingLinks } from './region/incoming-links.ts';
import { makeGates } from './region/link-gates.ts';
import { reapplyLoser } from './region/loser-reapply.ts';
import { OrphanTally } from './region/orphan-tally.ts';
import { OwnStreamTrim } from './region/own-stream-trim.ts';
import { RegionMerges } from './region/region-merges.ts';
import { makeTransfers } from './region/region-transfers.ts';
import { enterCluster, noteRest, type Readiness } from './region/server-upgrade.ts';
import { type RetriedEvent, SetAside } from './region/set-aside.ts';
import { passingFault } from './region/start-fault.ts';
import { reportStatus } from './region/status-report.ts';
import { type Chore, keepUp } from './region/upkeep.ts';
import { RegionLogs } from './region-logs.ts';
import { SequenceKeeper } from './sequences/sequence-keeper.ts';
import { LinkStore } from './topology/link-store.ts';
import type { TransferKeeper } from './transfer/transfer-keeper.ts';

const RETENTION_PERIOD_MS = 60_000;
const KEPT_PERIOD_MS = 15_000;

export class Agent implements AgentControl, AsyncDisposable {
  readonly #config: Config;
  readonly #logger: Logger;
  /** What the start has opened, and the stop closes. */
  readonly #parts: Parts;
  readonly #stability: Stability;
  readonly #gates: BaselineGates;
  readonly #links: IncomingLinks;
  readonly #orphans: OrphanTally;
  readonly #sessions: ApplySessions;
  readonly #merges: RegionMerges;
  readonly #transfers: TransferKeeper;
  readonly #apply: ApplyKeeper;
  readonly #setAside: SetAside;
  readonly #capture: CaptureKeeper;
  readonly #trim: OwnStreamTrim;
  /** Null where sequences are left as they are. */
  readonly #sequences: SequenceKeeper | null;
  readonly #startedAt = new Date();
  readonly #stopping = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #applying: Promise<void> = Promise.resolve();
  readonly #standbys = new StandbyWatch();
  #upkeep: Promise<unknown> = Promise.resolve();
  #gating: Promise<void> = Promise.resolve();

  private constructor(config: Config, logger: Logger, parts: Parts, starting: AbortSignal) {
    this.#config = config;
    this.#logger = logger;
    this.#parts = parts;
    const { region, peers } = config;
    const { lease, control, links, logs, ledger } = parts;
    const logOf = (source: string): EventLog => logs.of(source);
    this.#stability = new Stability(
      region,
      peers.map((peer) => peer.region),
    );
    this.#gates = makeGates(config, logger, logOf);
    this.#links = new IncomingLinks({
      config,
      logger,
      store: links,
      waiting: (source) => this.#apply.applier.waiting(source),
      quarantined: (source) => this.#setAside.quarantined(source),
      verdict: (source) => this.#gates.verdict(source),
      keptMs: async (source) => await logs.keptForMs(source, this.#apply.applier.mark(source)?.log_offset ?? 0),
    });
    this.#orphans = new OrphanTally(config, logger);
    this.#sessions = new ApplySessions(config, lease, this.#stability, this.#orphans, starting);
    this.#merges = new RegionMerges({
      config,
      logger,
      database: control,
      isCaptured: () => this.#capture.isStreaming,
      // What was applied before the history of a table was kept must be stable before anybody may count on that history.
      isReady: () => {
        const from = this.#apply.applier.trackedFrom;
        return from !== null && this.#stability.watermark() > from;
      },
    });
    this.#transfers = makeTransfers({
      config,
      logger,
      applicationName: lease.applicationName('transfer'),
      database: control,
      ledger,
      stability: this.#stability,
      isCaptured: () => this.#capture.isStreaming,
      ownMark: () => this.#apply.applier.mark(region),
      echoedLsn: () => this.#apply.applier.echoedLsn,
    });
    this.#apply = new ApplyKeeper({
      config,
      logger,
      sessions: this.#sessions,
      logOf,
      ledger,
      stability: this.#stability,
      links: this.#links,
      gates: this.#gates,
      merges: this.#merges,
      transfers: this.#transfers,
      capture: () => this.#capture,
      onQuarantined: () => this.#setAside.recount(),
    });
    this.#setAside = new SetAside(control, this.#apply.applier);
    this.#capture = new CaptureKeeper({
      config,
      logger,
      lease,
      log: logs.of(region),
      logBytesMax: logs.bytesMax,
      ledger,
      stability: this.#stability,
      delays: () => this.#links.delays(),
      neededFrom: async () => await this.#trim.neededFrom(),
      onStreaming: () => this.#merges.keeper.wake(),
      onTables: (members) => this.#sequences?.publish(members),
      // The very first start makes the history while apply is at work already.
      onHistory: (history) => this.#sessions.began(history),
      onBaseline: (own) => this.#gates.know(own),
    });
    const ownMark = (): Mark | undefined => this.#apply.applier.durableMark(region);
    this.#trim = new OwnStreamTrim({ config, logs, capture: this.#capture, ownMark });
    const { interleave } = config.sequences;
    const applicationName = lease.applicationName('sequences');
    this.#sequences =
      interleave === undefined
        ? null
        : new SequenceKeeper({ url: config.database, applicationName, interleave, logger });
  }

  /**
   * Resolves once the agent captures and applies; rejects with what the operator has to mend. What passes is waited for, a
   * database that is away above all; the signal ends that.
   */
  static async start(config: Config, logger: Logger, signal?: AbortSignal): Promise<Agent> {
    const backoff = new Backoff({ random: systemRandom });
    for (;;) {
      signal?.throwIfAborted();
      const attempt = new AbortController();
      const giveUp = (): void => attempt.abort();
      signal?.addEventListener('abort', giveUp);
      try {
        return await Agent.#startOnce(config, logger, attempt);
      } catch (error) {
        const fault = passingFault(error);
        if (fault === null || signal?.aborted === true) throw error;
        const retry_ms = backoff.nextMs();
        logger.warn({ err: fault, retry_ms }, 'the agent cannot start yet');
        await delay(retry_ms, undefined, { signal }).catch(() => undefined);
      } finally {
        signal?.removeEventListener('abort', giveUp);
      }
    }
  }

  /** The attempt is aborted from outside or by what fails; then its connections are cut, since nobody waits for them any more. */
  static async #startOnce(config: Config, logger: Logger, attempt: AbortController): Promise<Agent> {
    const { signal } = attempt;
    await prepareDatabase(config, logger, signal);
    await using resources = new AsyncDisposableStack();
    const slot = captureName(config.region);
    const lease = resources.use(await Lease.acquire({ url: config.database, region: config.region, slot, signal }));
    await upgradeDatabase(config, lease, logger, signal);
    await enterCluster(config, lease, logger, signal);
    const applicationName = lease.applicationName('control');
    const control = resources.use(new StandingConnection(config.database, { applicationName, signal }));
    const links = resources.use(new LinkStore(control, config.region));
    await links.open(config.peers.map((peer) => peer.region));
    const { rows } = await control.query('select origin from syncline.applied');
    const joined = new Set(rows.map((row) => String(row.origin)));
    const logs = resources.use(await RegionLogs.open(config, (detail) => logger.warn(detail)));
    const agent = new Agent(config, logger, { lease, control, links, logs, ledger: new NotesLedger() }, signal);
    // From here on the agent gives them back.
    resources.move();
    try {
      await agent.#run(joined, signal);
      return agent;
    } catch (error) {
      attempt.abort();
      await agent.stop();
      throw error;
    }
  }

  /** Resolves when the agent was stopped; rejects when it cannot go on. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get merges(): MergeRegistry {
    return this.#merges.registry;
  }

  status(): AgentStatus {
    const { logs } = this.#parts;
    return reportStatus({
      region: this.#config.region,
      startedAt: this.#startedAt,
      capture: this.#capture,
      apply: this.#apply,
      links: this.#links,
      setAside: this.#setAside,
      orphans: this.#orphans,
      held: this.#standbys.problem,
      log: { bytes: this.#trim.bytes, bytes_max: logs.bytesMax, streams: logs.traffic() },
      transfers: this.#transfers.progress,
      problems: [...(this.#sequences?.problems ?? []), ...this.#merges.keeper.problems, ...this.#transfers.problems],
    });
  }

  async patchLink(id: string, patch: { status?: 'paused' | 'active' } & Partial<LinkPolicy>): Promise<ReplicationLink> {
    return await this.#links.patch(id, patch);
  }

  async retryQuarantined(eventIds: readonly string[]): Promise<RetriedEvent[]> {
    return await this.#setAside.retry(eventIds);
  }

  async discardQuarantined(eventIds: readonly string[]): Promise<number> {
    return await this.#setAside.discard(eventIds);
  }

  async editParked(parkedId: string, values: Image): Promise<void> {
    await this.#setAside.editParked(parkedId, values);
  }

  async reapplyLoser(conflictId: string): Promise<Reapplied> {
    return await reapplyLoser(this.#config, this.#parts.lease, this.#logger, conflictId);
  }

  /**
   * Whether the region is at rest, so that its server can be upgraded. If it is, that is noted in the database, and this agent
   * applies nothing any more: it is to be stopped.
   */
  async rest(): Promise<Readiness> {
    if (!this.#capture.isBaselineTold) return { kind: 'unrest', waits: ['baseline'] };
    const rest = await this.#apply.applier.rest();
    if (rest.kind === 'rest') await noteRest(this.#parts.control, rest.snapshot);
    return rest;
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    await this.#capture.stop();
    await this.#applying.catch(() => undefined);
    await this.#upkeep;
    await this.#gating;
    const { links, logs, control, lease } = this.#parts;
    await links[Symbol.asyncDispose]();
    await logs[Symbol.asyncDispose]();
    await control[Symbol.asyncDispose]();
    await this.#merges[Symbol.asyncDispose]();
    await lease[Symbol.asyncDispose]();
    this.#ended.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** `joined` has the regions of which something was applied before. */
  async #run(joined: ReadonlySet<string>, starting: AbortSignal): Promise<void> {
    const { signal } = this.#stopping;
    if (this.#config.baseline === 'trust') {
      this.#logger.warn(
        'baseline: trust: rows from before replication began are taken for equal, and are not compared',
      );
    }
    const { lost } = this.#parts.lease;
    lost.addEventListener('abort', () => this.#end(lost.reason), { once: true });
    lost.throwIfAborted();
    const { applier } = this.#apply;
    this.#applying = applier.run(signal);
    this.#applying.catch((error: unknown) => this.#end(error));
    // Nobody else listens to the end of an agent before its start is over.
    await unlessAborted(Promise.race([applier.opened, this.#ended.promise]), starting);
    this.#gating = this.#gates.run(joined, signal);
    this.#capture.start(signal);
    const putOff = (error: unknown): void => this.#logger.warn({ err: error }, 'upkeep is put off');
    this.#upkeep = Promise.all([
      keepUp(this.#chores(), signal, putOff),
      this.#sequences?.run(signal),
      this.#merges.keeper.run(signal),
      this.#merges.shadows.run(signal),
      this.#transfers.run(signal),
    ]);
  }

  /** The agent cannot go on: whoever started it is told why. */
  #end(error: unknown): void {
    if (!this.#stopping.signal.aborted) this.#ended.reject(error);
  }

  #chores(): Chore[] {
    return [
      { work: async () => await this.#setAside.count() },
      { work: async () => await this.#trim.run() },
      { work: async () => await this.#dropOldConflicts(), periodMs: RETENTION_PERIOD_MS },
      { work: async () => await this.#links.measureKept(), periodMs: KEPT_PERIOD_MS },
      { work: async () => await this.#standbys.look(this.#parts.control) },
    ];
  }

  async #dropOldConflicts(): Promise<void> {
    const records = await dropOldConflicts(this.#parts.control, this.#config.conflicts);
    if (records > 0) this.#logger.info({ records }, 'old records of the conflict log were dropped');
  }
}

type Parts = {
  readonly lease: Lease;
  readonly control: StandingConnection;
  readonly links: LinkStore;
  readonly logs: RegionLogs;
  readonly ledger: NotesLedger;
};
