/** What a link did so far and does now, kept by the target's agent in bounded memory. */
import type { AppliedReport } from '../apply/lane/batch-attempt.ts';
import type { LaneItem } from '../apply/lane-item.ts';
import { isoToMillis } from '../change/change-event.ts';
import { type ErrorCode, SynclineError } from '../platform/errors.ts';
import type { Problem } from './agent-status.ts';
import { DriftWindow } from './clock-drift.ts';
import { LagWindow } from './lag-window.ts';

export class LinkActivity {
  readonly lag = new LagWindow();
  readonly drift = new DriftWindow();
  /** Commit time of the newest event or heartbeat that arrived; null before the first. */
  lastHeardAt: string | null = null;
  events = 0;
  written = 0;
  conflicts = 0;
  readonly conflictsByTable = new Map<string, number>();
  /** Of the last transaction that was applied, durable or not. */
  lastEventId: string | null = null;
  fault: Problem | null = null;

  applied(report: AppliedReport): void {
    this.events += report.events;
    this.written += report.written;
    for (const [table, count] of Object.entries(report.conflicts)) {
      this.conflicts += count;
      this.conflictsByTable.set(table, (this.conflictsByTable.get(table) ?? 0) + count);
    }
  }

  batch(items: readonly LaneItem[], nowMs: number): void {
    for (const item of items) {
      if (item.kind === 'heartbeat') {
        this.lastHeardAt = item.heartbeat.committed_at;
        continue;
      }
      this.lastHeardAt = item.source.committed_at;
      this.lag.record(nowMs - isoToMillis(item.source.committed_at), Math.max(1, item.source.events.length));
      this.lastEventId = item.event_id;
    }
  }
}

/** Any error as a problem with a code; one without a code of its own is about the database. */
export function toProblem(error: unknown, otherwise: ErrorCode = 'SYN-P009'): Problem {
  if (error instanceof SynclineError) return { code: error.code, detail: error.detail };
  return { code: otherwise, detail: error instanceof Error ? error.message : String(error) };
}
