/** What a region's agent tells of itself, put together from its parts. */
import type { AgentStatus, Problem } from '../monitor/agent-status.ts';
import { baselineStatus } from '../monitor/baseline-view.ts';
import { toProblem } from '../monitor/link-activity.ts';
import type { ApplyKeeper } from './apply-keeper.ts';
import type { CaptureKeeper } from './capture-keeper.ts';
import { clockProblem, type IncomingLinks, quarantineProblem } from './incoming-links.ts';
import type { OrphanTally } from './orphan-tally.ts';
import type { SetAside } from './set-aside.ts';

export type ReportedParts = Pick<AgentStatus, 'region' | 'log' | 'transfers'> & {
  readonly startedAt: Date;
  readonly capture: CaptureKeeper;
  readonly links: IncomingLinks;
  readonly apply: ApplyKeeper;
  readonly setAside: SetAside;
  readonly orphans: OrphanTally;
  /** What keeps the server from sending anything to capture. */
  readonly held: Problem | null;
  /** Of sequences, merge rules and tables that are published late. */
  readonly problems: readonly Problem[];
};

export function reportStatus(parts: ReportedParts): AgentStatus {
  const { capture, apply, setAside, orphans, held } = parts;
  const { baseline, slotProblem } = capture;
  const links = parts.links.all();
  const captured = capture.status();
  const problems: Problem[] = [...capture.tableProblems, ...parts.problems, ...orphans.problems];
  if (slotProblem !== null) problems.push(slotProblem);
  if (held !== null) problems.push(held);
  for (const link of links) {
    if (link.reason !== null) problems.push(link.reason);
    const offClock = clockProblem(link);
    if (offClock !== null) problems.push(offClock);
  }
  // No link is of the region's own events.
  const own = setAside.quarantined(parts.region);
  if (own > 0) problems.push(quarantineProblem(parts.region, own));
  if (baseline.kind === 'failed') problems.push(toProblem(baseline.error, 'SYN-B004'));
  return {
    region: parts.region,
    run: capture.run,
    started_at: parts.startedAt.toISOString(),
    ready: capture.isStreaming && apply.isRunning && held === null,
    capture: { ...captured, problem: captured.problem ?? held },
    apply: apply.status(),
    baseline: baselineStatus(baseline),
    links,
    conflicts_by_table: parts.links.conflictsByTable(),
    parked_by_table: setAside.parkedByTable,
    orphans_by_table: orphans.byTable,
    log: parts.log,
    transfers: parts.transfers,
    problems,
  };
}
