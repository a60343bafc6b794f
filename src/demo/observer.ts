// Puts together what the agents and the shops tell into one picture, and keeps what an agent forgets
// when it is killed: counts go on where the one before it stood.

import type { AgentClient, LinkState } from './agent-client.ts';
import type { BoardView, LinkView, RegionView } from './board.ts';

export interface ObservedRegion {
  readonly name: string;
  readonly agent: AgentClient;
  /** Transactions of its own users so far. */
  readonly transactions: () => number;
}

/** Rates are taken over this time, so that they do not flicker. */
const RATE_WINDOW_MS = 2_000;

export class Observer {
  readonly #regions: readonly ObservedRegion[];
  readonly #down = new Set<string>();
  readonly #meters = new Map<string, Meter>();
  readonly #links = new Map<string, LinkState>();
  readonly #startedMs = performance.now();

  constructor(regions: readonly ObservedRegion[]) {
    this.#regions = regions;
  }

  setState(region: string, state: RegionView['state']): void {
    if (state === 'down') this.#down.add(region);
    else this.#down.delete(region);
  }

  /** Asks every agent that is up. */
  async observe(signal: AbortSignal): Promise<BoardView> {
    const now = performance.now();
    const answers = await Promise.all(
      this.#regions.map(async ({ name, agent }) => {
        const links = this.#down.has(name) ? null : await agent.links(name, signal);
        return { name, links };
      }),
    );
    const regions = this.#regions.map(({ name, transactions }) => {
      const meter = this.#meter(name);
      meter.read(transactions(), now);
      return {
        region: name,
        state: this.#down.has(name) ? ('down' as const) : ('up' as const),
        writesPerS: meter.perS,
        writes: meter.total,
      };
    });
    const links = this.#regions.flatMap((source) =>
      answers
        .filter(({ name }) => name !== source.name)
        .map((target) => this.#linkView(source.name, target.name, target.links, now)),
    );
    return { elapsedS: (now - this.#startedMs) / 1_000, regions, links };
  }

  /** What each link told last; of an agent that is away, what it told before it went. */
  get links(): readonly LinkState[] {
    return [...this.#links.values()];
  }

  /** How many events all regions made so far, as far as any other region has applied them. */
  get events(): number {
    const made = this.#regions.map(({ name: source }) =>
      Math.max(0, ...this.#regions.map(({ name: target }) => this.#meters.get(`${source}:${target}`)?.total ?? 0)),
    );
    return made.reduce((sum, each) => sum + each, 0);
  }

  #linkView(source: string, target: string, known: readonly LinkState[] | null, now: number): LinkView {
    const id = `${source}:${target}`;
    const state = known?.find((link) => link.link_id === id);
    const meter = this.#meter(id);
    const conflicts = this.#meter(`${id} conflicts`);
    if (state !== undefined) {
      this.#links.set(id, state);
      meter.read(state.events_applied, now);
      conflicts.read(state.conflicts, now);
    }
    const away = this.#down.has(target) ? 'away' : 'starting';
    return {
      source,
      target,
      status: state?.status ?? away,
      lagMs: state?.lag_ms ?? null,
      p50Ms: state?.lag_p50_ms ?? null,
      p99Ms: state?.lag_p99_ms ?? null,
      eventsPerS: state === undefined ? null : meter.perS,
      events: meter.total,
      conflicts: conflicts.total,
      waiting: state?.events_waiting ?? null,
    };
  }

  #meter(name: string): Meter {
    let meter = this.#meters.get(name);
    if (meter === undefined) {
      meter = new Meter();
      this.#meters.set(name, meter);
    }
    return meter;
  }
}

/** A counter that may begin again at zero, as a total and a rate. */
export class Meter {
  total = 0;
  #last = 0;
  #readings: { readonly atMs: number; readonly total: number }[] = [];

  read(value: number, nowMs: number): void {
    this.total += value < this.#last ? value : value - this.#last;
    this.#last = value;
    this.#readings.push({ atMs: nowMs, total: this.total });
    while (this.#readings.length > 2 && (this.#readings[1]?.atMs ?? nowMs) <= nowMs - RATE_WINDOW_MS) {
      this.#readings.shift();
    }
  }

  get perS(): number {
    const first = this.#readings[0];
    const last = this.#readings.at(-1);
    if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
    return ((last.total - first.total) * 1_000) / (last.atMs - first.atMs);
  }
}
