/** What an agent can tell about itself at any moment: the one shape that API, CLI and metrics read. */
import type { Reapplied } from '../apply/sql/loser-write.ts';
import type { Image } from '../change/change-event.ts';
import type { MergeRegistry } from '../merge/merge-registry.ts';
import type { ErrorCode } from '../platform/errors.ts';
import type { StreamTraffic } from '../platform/meter.ts';

export type LinkStatus = 'active' | 'paused' | 'degraded' | 'decommissioned';

/** A problem that an operator should know of: code of the error table, and what is concerned. */
export type Problem = { readonly code: ErrorCode; readonly detail: string; readonly table?: string };

export type LinkPolicy = {
  readonly mode: 'async' | 'sync';
  readonly lag_slo_ms: number;
  readonly bandwidth_limit_bytes_per_s: number | null;
  readonly failover_priority: number;
  readonly tables: readonly string[] | null;
  /**
   * How far ahead of the local clock events of this link may be, beyond limits.max_clock_drift_ms; null for no more than
   * that.
   */
  readonly allow_drift_ms: number | null;
};

export type IneffectivePolicy = 'mode' | 'bandwidth_limit_bytes_per_s' | 'failover_priority' | 'tables';

/** A directed replication edge, with its policy and live state. */
export type ReplicationLink = LinkPolicy & {
  /** `source:target`. */
  readonly link_id: string;
  readonly source_region: string;
  readonly target_region: string;
  readonly status: LinkStatus;
  /** Why the link is degraded; null otherwise. */
  readonly reason: Problem | null;
  readonly baseline: LinkBaseline;
  readonly last_acked_event_id: string | null;
  /**
   * Now − committed_at of the oldest event not yet acknowledged; 0 when there is none. While the stream is not read, as where
   * it or the database is away, time since the newest that was applied, or since the agent's start.
   */
  readonly lag_ms: number;
  /** Delay from the commit at the source to the commit here, of what was applied lately; null where nothing was. */
  readonly lag_p50_ms: number | null;
  readonly lag_p99_ms: number | null;
  readonly updated_at: string;
  /** Commit time of the newest event or heartbeat of the source that arrived here; null until there is one. */
  readonly last_heard_at: string | null;
  /** By how much the clock of the source's database is ahead of the local one's; null while it is not known. */
  readonly clock_drift_ms: number | null;
  /** That measure is wrong by at most so much; null while only one direction is measured: it is at least that then. */
  readonly clock_drift_error_ms: number | null;
  /**
   * How long the stream of the source still keeps, at least, the next event that is not applied here; null where nothing is
   * dropped before it is read, or where that is not known.
   */
  readonly log_kept_ms: number | null;
  readonly events_applied: number;
  readonly events_waiting: number;
  readonly conflicts: number;
  readonly quarantined: number;
  /** Parts of the policy that are set, kept, and not carried out by this version. */
  readonly ineffective: readonly IneffectivePolicy[];
};

/** Whether a link's regions held the same rows where their replication began. */
export type LinkBaseline = {
  /** `waiting` for a baseline to be read; `joined` at an earlier start; nothing is applied while it waits or is refused. */
  readonly state: 'waiting' | 'equal' | 'trusted' | 'joined' | 'refused';
  readonly detail: string | null;
};

/** The rows that the region itself held where its stream begins, and how far they are read. */
export type BaselineStatus = {
  readonly state: 'starting' | 'waiting' | 'scanning' | 'failed' | 'known' | 'trusted' | 'untold';
  readonly detail: string | null;
  readonly tables_total: number;
  readonly tables_done: number;
  /** The table that is being read. */
  readonly table: string | null;
  readonly rows: number;
  readonly percent: number;
};

export type CaptureStatus = {
  readonly state: 'starting' | 'streaming' | 'retrying' | 'stopped';
  readonly problem: Problem | null;
  readonly transactions: number;
  readonly events: number;
  /** Transactions stamped above their commit timestamp, because a clock was behind; and what other tools applied here. */
  readonly pushed: number;
  readonly foreign: number;
  /** WAL that the slot keeps back, in bytes; null while unknown. */
  readonly slot_retained_bytes: number | null;
  readonly last_published_at: string | null;
};

export type AgentStatus = {
  readonly region: string;
  readonly run: number;
  readonly started_at: string;
  readonly ready: boolean;
  readonly capture: CaptureStatus;
  readonly apply: {
    readonly state: 'starting' | 'running' | 'retrying' | 'stopped';
    readonly problem: Problem | null;
    readonly batches: number;
    readonly restarts: number;
  };
  readonly baseline: BaselineStatus;
  readonly links: readonly ReplicationLink[];
  /** Conflicts seen since the agent started, by `schema.table`. */
  readonly conflicts_by_table: Readonly<Record<string, number>>;
  /** Rows that wait for a unique value, by `schema.table`. */
  readonly parked_by_table: Readonly<Record<string, number>>;
  /** Rows found since the agent started whose parent was removed elsewhere, by `schema.table`. */
  readonly orphans_by_table: Readonly<Record<string, number>>;
  /** Tables that were published late, by the region that tells its rows, until all are told everywhere. */
  readonly transfers: readonly TransferProgress[];
  readonly log: {
    readonly bytes: number;
    readonly bytes_max: number | null;
    /** What was appended and fetched since the agent started, where that goes over a network. */
    readonly streams: readonly StreamTraffic[];
  };
  readonly problems: readonly Problem[];
};

export type TransferProgress = {
  readonly table: string;
  readonly region: string;
  readonly state: 'absent' | 'refused' | 'published' | 'sealed' | 'ready' | 'done';
  readonly rows_told: number;
  readonly rows_total: number | null;
  readonly percent: number;
};

/** What operators want of merge rules; `merge/merge-registry.ts` keeps it. */
export type MergeControl = Pick<MergeRegistry, 'register' | 'promote' | 'rollback'>;

/** What the API may ask an agent to do; implemented by `agent.ts`. */
export interface AgentControl {
  status(): AgentStatus;
  readonly merges: MergeControl;
  /** Pauses or resumes a link, and changes its policy; persisted. SYN-T001 for an unknown link, SYN-T002 for another's. */
  patchLink(linkId: string, patch: { status?: 'paused' | 'active' } & Partial<LinkPolicy>): Promise<ReplicationLink>;
  /** Applies quarantined events again; tells per event whether it worked. */
  retryQuarantined(
    eventIds: readonly string[],
  ): Promise<{ event_id: string; applied: boolean; error: string | null }[]>;
  /** Gives quarantined events up here, and deletes parked rows everywhere; tells how many there were. */
  discardQuarantined(eventIds: readonly string[]): Promise<number>;
  /** Gives a parked row other values, in every region. SYN-A020 where no such row is parked, SYN-A021 for a wrong column. */
  editParked(parkedId: string, values: Image): Promise<void>;
  /** Writes the losing side of a conflict again, as a new local write; each call does. SYN-T160 to T166. */
  reapplyLoser(conflictId: string): Promise<Reapplied>;
}
