/** What Prometheus reads: gauges and counters from the agent's status, taken at the moment of asking. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { AgentControl, AgentStatus } from './agent-status.ts';

const LINK = ['region_source', 'region_target'] as const;
const CAPTURE_STATES = ['starting', 'streaming', 'retrying', 'stopped'] as const;
const APPLY_STATES = ['starting', 'running', 'retrying', 'stopped'] as const;

export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #agent: AgentControl;
  readonly #links: {
    readonly gauge: Gauge<'region_source' | 'region_target'>;
    readonly of: (link: AgentStatus['links'][number]) => number | null;
  }[];
  readonly #captureState: Gauge<'state'>;
  readonly #applyState: Gauge<'state'>;
  readonly #numbers: { readonly gauge: Gauge; readonly of: (status: AgentStatus) => number | null }[];
  readonly #conflicts: Counter<'table'>;
  readonly #counted = new Map<string, number>();

  constructor(agent: AgentControl) {
    this.#agent = agent;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, prefix: 'syncline_' });
    const link = (
      name: string,
      help: string,
      of: (link: AgentStatus['links'][number]) => number | null,
    ): { gauge: Gauge<'region_source' | 'region_target'>; of: typeof of } => ({
      gauge: new Gauge({ name: `syncline_link_${name}`, help, labelNames: [...LINK], registers }),
      of,
    });
    const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);
    this.#links = [
      link(
        'lag_seconds',
        'Age of the oldest event that is not acknowledged; 0 when there is none.',
        (l) => l.lag_ms / 1000,
      ),
      link('delay_p50_seconds', 'Median delay from commit to commit, lately.', (l) => seconds(l.lag_p50_ms)),
      link('delay_p99_seconds', '99th percentile of the delay from commit to commit, lately.', (l) =>
        seconds(l.lag_p99_ms),
      ),
      link('events_applied', 'Events applied since the agent started.', (l) => l.events_applied),
      link('events_waiting', 'Events read ahead and not applied yet.', (l) => l.events_waiting),
      link('conflicts', 'Conflicts seen since the agent started.', (l) => l.conflicts),
      link('quarantined', 'Events in the quarantine.', (l) => l.quarantined),
      link('active', '1 while the link is active, 0 while it is paused, degraded or decommissioned.', (l) =>
        l.status === 'active' ? 1 : 0,
      ),
      link('silence_seconds', 'Time since the newest event or heartbeat of the source was committed there.', (l) =>
        l.last_heard_at === null ? null : Math.max(0, Date.now() - Date.parse(l.last_heard_at)) / 1000,
      ),
    ];
    const number = (name: string, help: string, of: (status: AgentStatus) => number | null) => ({
      gauge: new Gauge({ name: `syncline_${name}`, help, registers }),
      of,
    });
    this.#numbers = [
      number('captured_transactions', 'Transactions published since the agent started.', (s) => s.capture.transactions),
      number('captured_events', 'Events published since the agent started.', (s) => s.capture.events),
      number('slot_retained_bytes', 'WAL that the server keeps for the slot.', (s) => s.capture.slot_retained_bytes),
      number('apply_batches', 'Batches applied since the agent started.', (s) => s.apply.batches),
      number('apply_restarts', 'Connections of apply that were lost.', (s) => s.apply.restarts),
      number('log_bytes', 'Size of the own stream in the log.', (s) => s.log.bytes),
      number('log_bytes_max', 'Bound of the own stream in the log.', (s) => s.log.bytes_max),
      number('ready', '1 once every stream of the region is captured and applied.', (s) => (s.ready ? 1 : 0)),
    ];
    this.#captureState = new Gauge({
      name: 'syncline_capture_state',
      help: '1 for the state it is in.',
      labelNames: ['state'],
      registers,
    });
    this.#applyState = new Gauge({
      name: 'syncline_apply_state',
      help: '1 for the state it is in.',
      labelNames: ['state'],
      registers,
    });
    this.#conflicts = new Counter({
      name: 'syncline_conflicts_total',
      help: 'Conflicts by table.',
      labelNames: ['table'],
      registers,
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    const status = this.#agent.status();
    for (const { gauge, of } of this.#links) {
      gauge.reset();
      for (const link of status.links) {
        const value = of(link);
        if (value !== null) gauge.set({ region_source: link.source_region, region_target: link.target_region }, value);
      }
    }
    for (const { gauge, of } of this.#numbers) gauge.set(of(status) ?? Number.NaN);
    for (const state of CAPTURE_STATES) this.#captureState.set({ state }, status.capture.state === state ? 1 : 0);
    for (const state of APPLY_STATES) this.#applyState.set({ state }, status.apply.state === state ? 1 : 0);
    for (const [table, count] of Object.entries(status.conflicts_by_table)) {
      this.#conflicts.inc({ table }, count - (this.#counted.get(table) ?? 0));
      this.#counted.set(table, count);
    }
    return await this.#registry.metrics();
  }
}
