// The state of an agent as Prometheus metrics, made at each scrape from one reading of its status.
//
// Everything hangs on the scrape: between two of them nothing is counted twice and nothing is kept,
// and the library is loaded with the first one. Totals are those of the agent's own counters, so they
// begin at zero with each start, as Prometheus expects of counters.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { AgentStatus } from './agent-status.ts';
import { registerTraffic } from './traffic-metrics.ts';

const LINK_STATES = ['active', 'paused', 'degraded', 'decommissioned'] as const;
const CAPTURE_STATES = ['starting', 'streaming', 'retrying', 'stopped'] as const;
const BASELINE_STATES = ['starting', 'waiting', 'scanning', 'failed', 'known', 'trusted', 'untold'] as const;
const LINK_BASELINES = ['waiting', 'equal', 'trusted', 'joined', 'refused'] as const;
const APPLY_STATES = ['starting', 'running', 'retrying', 'stopped'] as const;

type Labels = Record<string, string>;

export class Metrics {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();

  #traffic: AgentStatus['log']['streams'] = [];

  constructor(region: string) {
    this.#registry.setDefaultLabels({ region });
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 100 });
    registerTraffic(this.#registry, () => this.#traffic);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text of a scrape. */
  async render(status: AgentStatus, nowMs = Date.now()): Promise<string> {
    for (const metric of [...this.#gauges.values(), ...this.#counters.values()]) metric.reset();
    this.#traffic = status.log.streams;
    this.#agent(status, nowMs);
    for (const link of status.links) this.#link(link, nowMs);
    return await this.#registry.metrics();
  }

  #agent(status: AgentStatus, nowMs: number): void {
    const { capture, apply, baseline, log } = status;
    this.#gauge('syncline_ready', 'Whether every stream of the region is captured and applied.', status.ready ? 1 : 0);
    this.#gauge('syncline_run', 'Number of the run of this agent.', status.run);
    for (const state of CAPTURE_STATES) {
      this.#gauge('syncline_capture_state', 'The state of capture is 1.', capture.state === state ? 1 : 0, { state });
    }
    for (const state of APPLY_STATES) {
      this.#gauge('syncline_apply_state', 'The state of apply is 1.', apply.state === state ? 1 : 0, { state });
    }
    for (const state of BASELINE_STATES) {
      const help = 'The state of the baseline of this region is 1.';
      this.#gauge('syncline_baseline_state', help, baseline.state === state ? 1 : 0, { state });
    }
    this.#gauge('syncline_baseline_rows', 'Rows of the baseline that are read.', baseline.rows);
    this.#gauge('syncline_baseline_read_ratio', 'How much of the baseline is read.', baseline.percent / 100);
    this.#counter('syncline_capture_transactions_total', 'Transactions published.', capture.transactions);
    this.#counter('syncline_capture_events_total', 'Row changes published.', capture.events);
    this.#counter('syncline_apply_batches_total', 'Batches applied.', apply.batches);
    this.#counter('syncline_apply_restarts_total', 'Times that apply began anew after a fault.', apply.restarts);
    this.#counter(
      'syncline_capture_pushed_stamps_total',
      'Transactions stamped above their commit timestamp, because a clock was behind.',
      capture.pushed,
    );
    this.#counter('syncline_capture_foreign_total', 'Transactions that other tools applied here.', capture.foreign);
    const published = ageSeconds(capture.last_published_at, nowMs);
    this.#gauge(
      'syncline_capture_heartbeat_age_seconds',
      'Since anything was published, heartbeats included.',
      published,
    );
    this.#gauge('syncline_slot_retained_bytes', 'WAL that the slot keeps back.', capture.slot_retained_bytes);
    this.#gauge('syncline_log_bytes', "Size of the region's own stream.", log.bytes);
    this.#gauge('syncline_log_bytes_max', 'Bound of that size.', log.bytes_max);
    for (const [table, count] of Object.entries(status.conflicts_by_table)) {
      this.#counter('syncline_conflicts_total', 'Conflicts seen, by table.', count, { table });
    }
    for (const [table, count] of Object.entries(status.parked_by_table)) {
      this.#gauge('syncline_parked_rows', 'Rows that wait for a unique value, by table.', count, { table });
    }
    for (const [table, count] of Object.entries(status.orphans_by_table)) {
      this.#counter('syncline_orphans_total', 'Rows found whose parent was removed elsewhere.', count, { table });
    }
    for (const { table, region, percent } of status.transfers) {
      this.#gauge('syncline_transfer_percent', 'Rows of a table that was published late, told.', percent, {
        table,
        region_source: region,
      });
    }
    const problems = new Map<string, number>();
    for (const { code } of status.problems) problems.set(code, (problems.get(code) ?? 0) + 1);
    for (const [code, count] of problems) this.#gauge('syncline_problems', 'Problems now, by code.', count, { code });
  }

  #link(link: AgentStatus['links'][number], nowMs: number): void {
    const regions = { region_source: link.source_region, region_target: link.target_region };
    const lag =
      'Age of the oldest event that is not acknowledged; of the newest applied, while the stream is not read.';
    this.#gauge('syncline_link_lag_seconds', lag, link.lag_ms / 1_000, regions);
    for (const [quantile, delay] of [
      ['0.5', link.lag_p50_ms],
      ['0.99', link.lag_p99_ms],
    ] as const) {
      const help = 'From the commit at the source to the commit here, over the last minutes.';
      const labels = { ...regions, quantile };
      this.#gauge('syncline_link_delay_seconds', help, delay === null ? null : delay / 1_000, labels);
    }
    for (const state of LINK_STATES) {
      const labels = { ...regions, status: state };
      this.#gauge('syncline_link_status', 'The status of the link is 1.', link.status === state ? 1 : 0, labels);
    }
    for (const state of LINK_BASELINES) {
      const help = "The state of the comparison of both regions' baselines is 1.";
      const labels = { ...regions, state };
      this.#gauge('syncline_link_baseline', help, link.baseline.state === state ? 1 : 0, labels);
    }
    const heard = ageSeconds(link.last_heard_at, nowMs);
    this.#gauge('syncline_link_heartbeat_age_seconds', 'Since the source was last heard of.', heard, regions);
    const { clock_drift_ms: drift, clock_drift_error_ms: error } = link;
    const leads = 'Lead of the clock of the source over the local one.';
    this.#gauge('syncline_link_clock_drift_seconds', leads, drift === null ? null : drift / 1_000, regions);
    const bound = 'The measured lead of the clock is wrong by at most that.';
    this.#gauge('syncline_link_clock_drift_error_seconds', bound, error === null ? null : error / 1_000, regions);
    const keeps =
      'How long the stream of the source still keeps the next event that is not applied here; at 0 it is lost.';
    const kept = link.log_kept_ms === null ? null : link.log_kept_ms / 1_000;
    this.#gauge('syncline_link_log_kept_seconds', keeps, kept, regions);
    this.#gauge('syncline_link_lag_slo_seconds', 'The lag that the policy allows.', link.lag_slo_ms / 1_000, regions);
    this.#gauge('syncline_link_events_waiting', 'Events read and not yet applied.', link.events_waiting, regions);
    this.#gauge('syncline_link_quarantined', 'Events in the quarantine.', link.quarantined, regions);
    this.#counter('syncline_link_events_applied_total', 'Events applied.', link.events_applied, regions);
    this.#counter('syncline_link_conflicts_total', 'Conflicts seen.', link.conflicts, regions);
  }

  /** What is not known is left out of the scrape, instead of standing there as a zero. */
  #gauge(name: string, help: string, value: number | null, labels: Labels = {}): void {
    let gauge = this.#gauges.get(name);
    if (gauge === undefined) {
      gauge = new Gauge({ name, help, labelNames: Object.keys(labels), registers: [this.#registry] });
      this.#gauges.set(name, gauge);
      gauge.reset();
    }
    if (value === null) {
      if (Object.keys(labels).length === 0) gauge.remove();
    } else gauge.set(labels, value);
  }

  #counter(name: string, help: string, total: number, labels: Labels = {}): void {
    let counter = this.#counters.get(name);
    if (counter === undefined) {
      counter = new Counter({ name, help, labelNames: Object.keys(labels), registers: [this.#registry] });
      this.#counters.set(name, counter);
    }
    counter.inc(labels, total);
  }
}

function ageSeconds(time: string | null, nowMs: number): number | null {
  return time === null ? null : Math.max(0, nowMs - Date.parse(time)) / 1_000;
}
