/**
 * Makes this region's apply of its parts, and keeps what is to be told of it: whether it is at work, and how often it was
 * interrupted. What happens to a link while it is applied is told to the links.
 */
import { Applier } from '../apply/lane/applier.ts';
import type { BaselineGates } from '../apply/lane/baseline-gates.ts';
import type { Chore } from '../apply/lane/lane-loop.ts';
import { touchesRegistry } from '../apply/lane-item.ts';
import { isRegistryTable } from '../change/merge-registry.ts';
import { positionEpoch } from '../change/position.ts';
import type { NotesLedger } from '../clock/notes-ledger.ts';
import type { Stability } from '../clock/stability.ts';
import type { EventLog } from '../log/event-log.ts';
import type { AgentStatus } from '../monitor/agent-status.ts';
import { toProblem } from '../monitor/link-activity.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import type { RunState } from '../platform/run-loop.ts';
import { isTableIncluded } from '../platform/table-filter.ts';
import type { TransferKeeper } from '../transfer/transfer-keeper.ts';
import type { ApplySessions } from './apply-sessions.ts';
import type { CaptureKeeper } from './capture-keeper.ts';
import type { IncomingLinks } from './incoming-links.ts';
import type { RegionMerges } from './region-merges.ts';

export type ApplyKeeperOptions = {
  readonly config: Config;
  readonly logger: Logger;
  readonly sessions: ApplySessions;
  /** The log where that region's stream is. */
  readonly logOf: (region: string) => EventLog;
  readonly ledger: NotesLedger;
  readonly stability: Stability;
  readonly links: IncomingLinks;
  readonly gates: BaselineGates;
  readonly merges: RegionMerges;
  readonly transfers: Pick<TransferKeeper, 'heard'>;
  /** What of the own stream is published, and durable. */
  readonly capture: () => Pick<CaptureKeeper, 'publishedTo' | 'durableLsn'>;
  /** A batch left events in the quarantine. */
  readonly onQuarantined: () => void;
};

export class ApplyKeeper {
  readonly applier: Applier;
  readonly #options: ApplyKeeperOptions;
  #state: RunState = { kind: 'waiting', error: null, attempt: 0, delayMs: 0 };
  #restarts = -1;
  #batches = 0;
  readonly #choreFaults = new Map<Chore, unknown>();

  constructor(options: ApplyKeeperOptions) {
    this.#options = options;
    this.applier = this.#makeApplier();
  }

  get isRunning(): boolean {
    return this.#state.kind === 'running';
  }

  status(): AgentStatus['apply'] {
    const [fault] = this.#choreFaults.values();
    const error = ('error' in this.#state ? this.#state.error : null) ?? fault ?? null;
    return {
      state: stateOf(this.#state),
      problem: error === null ? null : toProblem(error),
      batches: this.#batches,
      restarts: Math.max(0, this.#restarts),
    };
  }

  #makeApplier(): Applier {
    const { config, logger, sessions, logOf, ledger, stability, links, gates, merges, capture } = this.#options;
    const { region, peers, apply, tables } = config;
    return new Applier({
      region,
      peers: peers.map((peer) => peer.region),
      logOf,
      openSession: async () => await sessions.open(),
      ledger,
      stability,
      batchRowsMax: apply.batch_rows_max,
      causalWaitMs: apply.causal_wait_ms,
      onError: apply.on_error,
      isReplicated: (schema, table) => isRegistryTable(schema, table) || isTableIncluded(tables, schema, table),
      merges: merges.ofLane,
      publishedTo: () => capture().publishedTo,
      confirmedLsn: () => capture().durableLsn ?? 0n,
      isPaused: (origin) => links.isPaused(origin) || gates.isClosed(origin),
      leadLimits: (origin) => links.leadLimits(origin),
      onHeartbeat: (heartbeat, delayMs) => {
        if (heartbeat.region_id === region) return;
        if (heartbeat.merges) merges.keeper.heard(heartbeat.region_id);
        if (heartbeat.claims) this.#options.transfers.heard(heartbeat.region_id);
        links.heard(heartbeat.region_id, delayMs, heartbeat.delays_ms);
      },
      onState: (state) => this.#onState(state),
      onApplied: (report) => {
        this.#batches += 1;
        links.applied(report);
        if (report.quarantined === 0) return;
        logger.warn({ origin: report.origin, events: report.quarantined }, 'events were quarantined');
        this.#options.onQuarantined();
      },
      onBatch: (origin, items) => {
        links.passed(origin, items);
        const ofRegistry = items.find(touchesRegistry);
        if (ofRegistry !== undefined) merges.keeper.applied(origin, positionEpoch(ofRegistry.position));
      },
      prepareAcknowledgement: () => links.prepareAcknowledgement(),
      onFault: (origin, error) => links.fault(origin, error),
      onChoreFault: (chore, error) => this.#onChoreFault(chore, error),
    });
  }

  #onChoreFault(chore: Chore, error: unknown): void {
    const isKnown = this.#choreFaults.has(chore);
    if (error === null) this.#choreFaults.delete(chore);
    else this.#choreFaults.set(chore, error);
    if (isKnown === (error !== null)) return;
    const { logger } = this.#options;
    if (error === null) logger.info({ chore }, 'a chore of the lane is done again');
    else logger.warn({ err: error, chore }, 'a chore of the lane fails, and is tried again');
  }

  #onState(state: RunState): void {
    this.#state = state;
    this.#choreFaults.clear();
    if (state.kind === 'running') this.#restarts += 1;
    if (state.kind === 'waiting')
      this.#options.logger.warn({ err: state.error, retry_ms: state.delayMs }, 'apply is interrupted');
  }
}

function stateOf(state: RunState): AgentStatus['apply']['state'] {
  switch (state.kind) {
    case 'running':
      return 'running';
    case 'waiting':
      return state.error === null ? 'starting' : 'retrying';
    case 'failed':
    case 'ended':
      return 'stopped';
  }
}
