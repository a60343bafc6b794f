import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentStatus, ReplicationLink } from '../monitor/agent-status.ts';
import { renderStatus } from './status-view.ts';

process.env.NO_COLOR = '1';

const LINK: ReplicationLink = {
  link_id: 'us:eu',
  source_region: 'us',
  target_region: 'eu',
  status: 'active',
  reason: null,
  baseline: { state: 'joined', detail: null },
  last_acked_event_id: null,
  lag_ms: 12,
  lag_p50_ms: 4.26,
  lag_p99_ms: null,
  updated_at: '2026-01-01T00:00:00Z',
  last_heard_at: null,
  clock_drift_ms: -3_400,
  clock_drift_error_ms: 2.1,
  log_kept_ms: null,
  events_applied: 1_500,
  events_waiting: 2,
  conflicts: 3,
  quarantined: 0,
  ineffective: [],
  mode: 'async',
  lag_slo_ms: 1_000,
  bandwidth_limit_bytes_per_s: null,
  failover_priority: 0,
  tables: null,
  allow_drift_ms: null,
};

const STATUS: AgentStatus = {
  region: 'eu',
  run: 2,
  started_at: '2026-01-01T00:00:00.000Z',
  ready: true,
  capture: {
    state: 'streaming',
    problem: null,
    transactions: 1_000,
    events: 2_000,
    pushed: 0,
    foreign: 0,
    slot_retained_bytes: 2_048,
    last_published_at: null,
  },
  apply: { state: 'running', problem: null, batches: 9, restarts: 0 },
  baseline: { state: 'known', detail: null, tables_total: 1, tables_done: 1, table: null, rows: 3, percent: 100 },
  links: [LINK],
  conflicts_by_table: {},
  parked_by_table: {},
  orphans_by_table: {},
  transfers: [],
  log: { bytes: 1_572_864, bytes_max: null, streams: [] },
  problems: [],
};

const NOW = Date.parse('2026-01-01T03:05:00Z');

test('shows the agent and its links, with the rate between two readings', () => {
  const before = { at: 1_000, status: { ...STATUS, links: [{ ...LINK, events_applied: 1_000 }] } };
  assert.equal(
    renderStatus({ at: 3_000, status: STATUS }, before, NOW),
    `eu  ready  run 2, up 3 h 5 min
capture  streaming  1,000 transactions, 2,000 events, 0 pushed stamps; the slot keeps 2.0 KB
apply    running  9 batches, 0 restarts; the log holds 1.5 MB

LINK     STATUS    LAG     P50  P99   RATE  APPLIED  WAITING  CONFLICTS  QUARANTINE               CLOCK
us → eu  active  12 ms  4.3 ms    –  250/s    1,500        2          3           0  -3,400 ms ± 2.1 ms
`,
  );
});

test('tells how the clock of the source is off, and how sure that is', () => {
  const clock = (clock_drift_ms: number | null, clock_drift_error_ms: number | null): string => {
    const links = [{ ...LINK, clock_drift_ms, clock_drift_error_ms }];
    const lines = renderStatus({ at: 0, status: { ...STATUS, links } }, undefined, NOW).split('\n');
    return (
      lines
        .find((line) => line.startsWith('us'))
        ?.slice(-20)
        .trim() ?? ''
    );
  };
  assert.match(clock(null, null), /–$/);
  assert.match(clock(0.4, 0.5), /0\.4 ms ± 0\.5 ms$/);
  assert.match(clock(61_000, null), /≥ 61 s$/);
});

test('knows no rate of one reading, nor across a restart of the agent', () => {
  assert.match(renderStatus({ at: 0, status: STATUS }, undefined, NOW), /4\.3 ms +– +– +1,500/);
  const before = { at: 0, status: { ...STATUS, links: [{ ...LINK, events_applied: 9_999 }] } };
  assert.match(renderStatus({ at: 1_000, status: STATUS }, before, NOW), /4\.3 ms +– +– +1,500/);
});

test('tells each problem once, with its remedy', () => {
  const problem = { code: 'SYN-A001', detail: '2 event(s) of us wait in the quarantine' } as const;
  const status: AgentStatus = {
    ...STATUS,
    ready: false,
    links: [{ ...LINK, status: 'degraded', reason: problem, quarantined: 2 }],
    problems: [problem, { code: 'SYN-P012', detail: 'public.t has no primary key' }],
  };
  const text = renderStatus({ at: 0, status }, undefined, NOW);
  assert.match(text, /^eu {2}not ready/);
  assert.equal(text.split('SYN-A001').length, 2);
  assert.match(text, /✖ SYN-A001 2 event\(s\).*\n {2}→ Mend what the error names/);
  assert.match(text, /✖ SYN-P012 public\.t has no primary key\n {2}→ Add a primary key/);
});

test('says so where there are no links', () => {
  assert.match(
    renderStatus({ at: 0, status: { ...STATUS, links: [] } }, undefined, NOW),
    /no other region is configured/,
  );
});
