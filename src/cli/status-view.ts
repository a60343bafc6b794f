// What `syncline status` shows of one agent; pure.

import type { AgentStatus, BaselineStatus, Problem, ReplicationLink } from '../monitor/agent-status.ts';
import { ERRORS } from '../platform/errors.ts';
import { bytes, count, duration, paint } from './output.ts';
import { textTable } from './text-table.ts';

type Seen = { readonly at: number; readonly status: AgentStatus };

const COLUMNS = [
  { title: 'LINK' },
  { title: 'STATUS' },
  { title: 'LAG', align: 'right' },
  { title: 'P50', align: 'right' },
  { title: 'P99', align: 'right' },
  { title: 'RATE', align: 'right' },
  { title: 'APPLIED', align: 'right' },
  { title: 'WAITING', align: 'right' },
  { title: 'CONFLICTS', align: 'right' },
  { title: 'QUARANTINE', align: 'right' },
  { title: 'CLOCK', align: 'right' },
] as const;

/** `before` is an earlier reading, from which the rate follows. */
export function renderStatus({ at, status }: Seen, before: Seen | undefined, nowMs = Date.now()): string {
  const { capture, apply, log, links } = status;
  const uptime = duration(Math.max(0, nowMs - Date.parse(status.started_at)));
  const ready = status.ready ? paint('green', 'ready') : paint('red', 'not ready');
  const room = log.bytes_max === null ? '' : ` of ${bytes(log.bytes_max)}`;
  const lines = [
    `${paint('bold', status.region)}  ${ready}  run ${status.run}, up ${uptime}`,
    `capture  ${paintState(capture.state)}  ${count(capture.transactions)} transactions, ${count(capture.events)} events, ${count(capture.pushed)} pushed stamps; the slot keeps ${bytes(capture.slot_retained_bytes)}`,
    `apply    ${paintState(apply.state)}  ${count(apply.batches)} batches, ${count(apply.restarts)} restarts; the log holds ${bytes(log.bytes)}${room}`,
    ...baselineLine(status.baseline),
    '',
  ];
  if (links.length === 0) lines.push('no links: no other region is configured');
  else
    lines.push(
      ...textTable(
        COLUMNS,
        links.map((link) => row(link, at, before)),
      ),
    );
  for (const [table, rows] of Object.entries(status.parked_by_table)) {
    lines.push(`${table}: ${count(rows)} parked ${rows === 1 ? 'row waits' : 'rows wait'} for a unique value`);
  }
  for (const [table, rows] of Object.entries(status.orphans_by_table)) {
    lines.push(
      `${table}: ${count(rows)} ${rows === 1 ? 'row' : 'rows'} found without a parent; see conflicts --strategy orphan`,
    );
  }
  for (const { table, region, state, rows_told, rows_total, percent } of status.transfers) {
    const rows = rows_total === null ? '' : `, ${count(rows_told)} of ${count(rows_total)} rows told`;
    lines.push(`${table}: ${region} is ${state}${rows} (${Math.floor(percent)} %)`);
  }
  const problems = problemsOf(status);
  if (problems.length > 0) lines.push('', ...problems.flatMap(renderProblem));
  return `${lines.join('\n')}\n`;
}

function row(link: ReplicationLink, at: number, before: Seen | undefined): string[] {
  const earlier = before?.status.links.find(({ link_id }) => link_id === link.link_id);
  const seconds = before === undefined ? 0 : (at - before.at) / 1_000;
  // An agent that began anew counts from zero again.
  const done = earlier === undefined ? -1 : link.events_applied - earlier.events_applied;
  const rate = seconds > 0 && done >= 0 ? `${count(Math.round(done / seconds))}/s` : '–';
  const late = link.lag_ms > link.lag_slo_ms;
  return [
    `${link.source_region} → ${link.target_region}`,
    link.baseline.state === 'waiting' && link.status === 'active'
      ? paint('yellow', 'waiting for baseline')
      : paintState(link.status),
    late ? paint('yellow', duration(link.lag_ms)) : duration(link.lag_ms),
    duration(link.lag_p50_ms),
    duration(link.lag_p99_ms),
    rate,
    count(link.events_applied),
    count(link.events_waiting),
    count(link.conflicts),
    link.quarantined === 0 ? '0' : paint('red', count(link.quarantined)),
    clock(link),
  ];
}

/** By how much the clock of the source is ahead of the target's. */
function clock({ clock_drift_ms: drift, clock_drift_error_ms: error }: ReplicationLink): string {
  if (drift === null) return '–';
  const lead = drift < 0 ? `-${duration(-drift)}` : duration(drift);
  return error === null ? `≥ ${lead}` : `${lead} ± ${duration(error)}`;
}

/** Rows from before are of interest until they are read, or where they never were. */
function baselineLine({ state, table, rows, percent, detail }: BaselineStatus): string[] {
  if (state === 'known') return [];
  const progress = `${Math.floor(percent)} % of the rows from before are read, ${count(rows)} so far`;
  const text = state === 'scanning' ? `${progress}${table === null ? '' : `; now ${table}`}` : (detail ?? '');
  return [`baseline ${paint(state === 'failed' || state === 'untold' ? 'red' : 'yellow', state)}  ${text}`];
}

/** Each problem once, also where several parts of the status have it. */
function problemsOf({ problems, capture, apply, links }: AgentStatus): Problem[] {
  const all = [capture.problem, apply.problem, ...links.map(({ reason }) => reason), ...problems];
  const byText = new Map<string, Problem>();
  for (const problem of all) if (problem !== null) byText.set(`${problem.code} ${problem.detail}`, problem);
  return [...byText.values()];
}

function renderProblem({ code, detail }: Problem): string[] {
  return [`${paint('red', `✖ ${code}`)} ${detail}`, `  → ${ERRORS[code]?.remedy ?? 'see docs/errors.md'}`];
}

function paintState(state: string): string {
  if (state === 'active' || state === 'streaming' || state === 'running') return paint('green', state);
  return paint(state === 'paused' || state === 'starting' ? 'yellow' : 'red', state);
}
