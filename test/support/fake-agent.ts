// An agent as the API sees it, whose state a test sets by hand. Links are kept by the real store.

import type { Reapplied } from '../../src/apply/sql/loser-write.ts';
import type { Image } from '../../src/change/change-event.ts';
import type { AgentControl, AgentStatus, MergeControl, ReplicationLink } from '../../src/monitor/agent-status.ts';
import { fail } from '../../src/platform/errors.ts';
import { ineffectiveOf, type LinkPatch, type LinkStore } from '../../src/topology/link-store.ts';

export class FakeAgent implements AgentControl {
  readonly #links: LinkStore;
  merges: MergeControl = { register: notHere, promote: notHere, rollback: notHere };
  readonly retried: string[] = [];
  readonly discarded: string[] = [];
  readonly edited: { readonly parkedId: string; readonly values: Image }[] = [];
  /** By default nothing can be written. */
  reapply: (conflictId: string) => Promise<Reapplied> = notHere;
  /** What differs from an agent in good health. */
  state: Partial<AgentStatus> = {};
  link: Partial<ReplicationLink> = {};

  constructor(links: LinkStore) {
    this.#links = links;
  }

  status(): AgentStatus {
    return {
      region: 'eu',
      run: 3,
      started_at: '2026-01-01T00:00:00.000Z',
      ready: true,
      capture: {
        state: 'streaming',
        problem: null,
        transactions: 7,
        events: 11,
        pushed: 2,
        foreign: 1,
        slot_retained_bytes: 4_096,
        last_published_at: '2026-01-01T00:00:00.000Z',
      },
      apply: { state: 'running', problem: null, batches: 5, restarts: 1 },
      baseline: {
        state: 'known',
        detail: null,
        tables_total: 1,
        tables_done: 1,
        table: null,
        rows: 12,
        percent: 100,
      },
      links: this.#links.links.map((stored) => this.#live(stored)),
      conflicts_by_table: { 'public.t': 2 },
      parked_by_table: {},
      orphans_by_table: {},
      transfers: [],
      log: { bytes: 1_000, bytes_max: 10_000, streams: [] },
      problems: [],
      ...this.state,
    };
  }

  async patchLink(linkId: string, patch: LinkPatch): Promise<ReplicationLink> {
    return this.#live(await this.#links.patch(linkId, patch));
  }

  async retryQuarantined(
    eventIds: readonly string[],
  ): Promise<{ event_id: string; applied: boolean; error: string | null }[]> {
    this.retried.push(...eventIds);
    return eventIds.map((event_id, place) => ({ event_id, applied: place === 0, error: place === 0 ? null : 'no' }));
  }

  async discardQuarantined(eventIds: readonly string[]): Promise<number> {
    this.discarded.push(...eventIds);
    return eventIds.length;
  }

  async editParked(parkedId: string, values: Image): Promise<void> {
    this.edited.push({ parkedId, values });
  }

  async reapplyLoser(conflictId: string): Promise<Reapplied> {
    return await this.reapply(conflictId);
  }

  #live(stored: LinkStore['links'][number]): ReplicationLink {
    return {
      ...stored,
      reason: null,
      baseline: { state: 'equal', detail: null },
      lag_ms: 1_500,
      lag_p50_ms: 4.5,
      lag_p99_ms: null,
      last_heard_at: '2026-01-01T00:00:00.000000Z',
      clock_drift_ms: -1.5,
      clock_drift_error_ms: null,
      log_kept_ms: null,
      events_applied: 100,
      events_waiting: 3,
      conflicts: 2,
      quarantined: 1,
      ineffective: ineffectiveOf(stored),
      ...this.link,
    };
  }
}

const notHere = async (): Promise<never> => {
  throw fail('SYN-T106', 'this agent captures nothing');
};
