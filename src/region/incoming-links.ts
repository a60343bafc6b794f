/**
 * The links that end in this region: what operators set of each, what it does, and what stands in its way.
 *
 * What an operator sets is kept in the database; what a link does is counted for as long as the agent runs. A link is
 * degraded, whatever its stored status, while it stands still, is not joined, or has events in the quarantine.
 */

import type { Waiting } from '../apply/lane/applier.ts';
import type { GateVerdict } from '../apply/lane/baseline-gate.ts';
import type { AppliedReport } from '../apply/lane/batch-attempt.ts';
import type { LeadLimits } from '../apply/lane/lead-gate.ts';
import type { LaneItem } from '../apply/lane-item.ts';
import type { Delays } from '../change/stream-record.ts';
import type { LinkPolicy, Problem, ReplicationLink } from '../monitor/agent-status.ts';
import { linkBaseline } from '../monitor/baseline-view.ts';
import { DRIFT_WARN_MS, surelyApartMs } from '../monitor/clock-drift.ts';
import { LinkActivity, toProblem } from '../monitor/link-activity.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import { ineffectiveOf, type LinkStore, linkId } from '../topology/link-store.ts';

export type IncomingLinksOptions = {
  readonly config: Config;
  readonly logger: Logger;
  readonly store: LinkStore;
  /** What waits of one stream; null while nobody reads it. */
  readonly waiting: (source: string) => Waiting | null;
  readonly quarantined: (source: string) => number;
  readonly verdict: (source: string) => GateVerdict;
  /** How long the stream of a region still keeps what is next here; null where that is not known. */
  readonly keptMs: (source: string) => Promise<number | null>;
};

export class IncomingLinks {
  readonly #options: IncomingLinksOptions;
  readonly #region: string;
  /** By source; the own stream, which comes back as an echo, has one too. */
  readonly #activities: ReadonlyMap<string, LinkActivity>;
  readonly #keptMs = new Map<string, number | null>();
  readonly #startedMs = Date.now();

  constructor(options: IncomingLinksOptions) {
    const { region, peers } = options.config;
    this.#options = options;
    this.#region = region;
    const sources = [...peers.map((peer) => peer.region), region];
    this.#activities = new Map(sources.map((source) => [source, new LinkActivity()]));
  }

  all(): ReplicationLink[] {
    return this.#options.config.peers.map((peer) => this.#link(peer.region));
  }

  async patch(id: string, patch: { status?: 'paused' | 'active' } & Partial<LinkPolicy>): Promise<ReplicationLink> {
    const link = await this.#options.store.patch(id, patch);
    return this.#link(link.source_region);
  }

  isPaused(source: string): boolean {
    if (source === this.#region) return false;
    return this.#options.store.link(linkId(source, this.#region)).status === 'paused';
  }

  /** How far ahead of the local clock events of a link may be. */
  leadLimits(source: string): LeadLimits {
    const { apply, limits } = this.#options.config;
    const allowed = this.#options.store.link(linkId(source, this.#region)).allow_drift_ms ?? 0;
    return {
      waitMicros: BigInt(apply.lead_wait_ms) * 1_000n,
      holdMicros: BigInt(Math.max(limits.max_clock_drift_ms, allowed)) * 1_000n,
    };
  }

  /** What this region measured of the others' heartbeats, for its own. */
  delays(): Delays {
    const delays: { [region: string]: number } = {};
    for (const [source, { drift }] of this.#activities) if (drift.leastMs !== null) delays[source] = drift.leastMs;
    return delays;
  }

  /** Conflicts seen since the agent started, by `schema.table`. */
  conflictsByTable(): Record<string, number> {
    const counts: { [table: string]: number } = {};
    for (const { conflictsByTable } of this.#activities.values()) {
      for (const [table, count] of conflictsByTable) counts[table] = (counts[table] ?? 0) + count;
    }
    return counts;
  }

  /** A heartbeat of another region took so long to come here, by both clocks, and tells what that region measured. */
  heard(source: string, delayMs: number, delays: Delays): void {
    this.#activities.get(source)?.drift.record(delayMs, delays[this.#region] ?? null);
  }

  applied(report: AppliedReport): void {
    this.#activities.get(report.origin)?.applied(report);
  }

  /** The lane is done with these items. */
  passed(source: string, items: readonly LaneItem[]): void {
    this.#activities.get(source)?.batch(items, Date.now());
  }

  /** For what is passed by now; to be called once that is durable. */
  prepareAcknowledgement(): () => void {
    const passed = [...this.#activities].map(([source, { lastEventId }]) => [source, lastEventId] as const);
    return () => {
      for (const [source, acked] of passed) {
        if (source === this.#region || acked === null) continue;
        this.#options.store.acknowledged(linkId(source, this.#region), acked);
      }
    };
  }

  /** The link stands still; with null, it goes on. */
  fault(source: string, error: unknown): void {
    const { logger } = this.#options;
    const activity = this.#activities.get(source);
    const known = activity?.fault?.code;
    const fault = error === null ? null : toProblem(error, 'SYN-A001');
    if (activity !== undefined) activity.fault = fault;
    // What is found again and again is told once.
    if (fault !== null && fault.code !== known) logger.error({ origin: source, err: error }, 'a link stands still');
    if (fault === null && known !== undefined) logger.info({ origin: source }, 'the link goes on');
  }

  async measureKept(): Promise<void> {
    for (const { region } of this.#options.config.peers) {
      // What cannot be read now is told by the link.
      this.#keptMs.set(region, await this.#options.keptMs(region).catch(() => null));
    }
  }

  #link(source: string): ReplicationLink {
    const { store, waiting: waitingOf, quarantined: quarantinedOf, verdict: verdictOf } = this.#options;
    const stored = store.link(linkId(source, this.#region));
    const activity = this.#activities.get(source);
    const waiting = waitingOf(source);
    const quarantined = quarantinedOf(source);
    const lag = activity?.lag.percentiles([0.5, 0.99]) ?? null;
    const drift = activity?.drift.drift ?? null;
    const verdict = verdictOf(source);
    const refused = verdict.kind === 'refused' ? { code: verdict.code, detail: verdict.detail } : null;
    const reason = activity?.fault ?? refused ?? (quarantined === 0 ? null : quarantineProblem(source, quarantined));
    return {
      ...stored,
      status: stored.status === 'active' && reason !== null ? 'degraded' : stored.status,
      reason,
      baseline: linkBaseline(verdict),
      lag_ms: this.#lagMs(waiting, activity),
      lag_p50_ms: lag?.[0] ?? null,
      lag_p99_ms: lag?.[1] ?? null,
      last_heard_at: activity?.lastHeardAt ?? null,
      clock_drift_ms: drift?.drift_ms ?? null,
      clock_drift_error_ms: drift?.error_ms ?? null,
      log_kept_ms: this.#keptMs.get(source) ?? null,
      events_applied: activity?.events ?? 0,
      events_waiting: waiting?.events ?? 0,
      conflicts: activity?.conflicts ?? 0,
      quarantined,
      ineffective: ineffectiveOf(stored),
    };
  }

  /** What waits in a stream that nobody reads is not known: it is taken to have begun with what was applied last. */
  #lagMs(waiting: Waiting | null, activity: LinkActivity | undefined): number {
    if (waiting !== null && waiting.oldest === null) return 0;
    const since = waiting === null ? (activity?.lastHeardAt ?? null) : waiting.oldest;
    return Math.max(0, Date.now() - (since === null ? this.#startedMs : Date.parse(since)));
  }
}

/** Of a clock that is so far off that somebody should see to it, though events are not held for it. */
export function clockProblem({ source_region, clock_drift_ms, clock_drift_error_ms }: ReplicationLink): Problem | null {
  if (clock_drift_ms === null) return null;
  if (surelyApartMs({ drift_ms: clock_drift_ms, error_ms: clock_drift_error_ms }) <= DRIFT_WARN_MS) return null;
  const direction = clock_drift_ms > 0 ? 'ahead of' : 'behind';
  const detail = `the clock of ${source_region} is ${Math.round(Math.abs(clock_drift_ms))} ms ${direction} the local one`;
  return { code: 'SYN-P045', detail };
}

export function quarantineProblem(source: string, events: number): Problem {
  return { code: 'SYN-A001', detail: `${events} event(s) of ${source} wait in the quarantine` };
}
