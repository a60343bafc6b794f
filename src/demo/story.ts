// The story of the demo: three regions take writes, one is lost and comes back, and in the end all are
// the same. Told to a Screen while it happens; the result is for programs.
//
// Delays are told as they were while all regions were up: a link into a region that is away has the
// length of its absence, which says nothing about the link.

import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { invariant } from '../platform/assert.ts';
import { fail } from '../platform/errors.ts';
import type { Random } from '../platform/random.ts';
import { verifyRegions } from '../verify/verify-regions.ts';
import { renderReport, type VerifyReport } from '../verify/verify-report.ts';
import type { Conflict, LinkState } from './agent-client.ts';
import { type BoardView, count, duration } from './board.ts';
import { pickConflicts, tellConflict } from './conflict-story.ts';
import type { LogType } from './demo-logs.ts';
import type { DemoRegion } from './demo-region.ts';
import { Observer } from './observer.ts';
import type { Screen } from './screen.ts';
import { ShopWorkload } from './shop-workload.ts';

export interface DemoOptions {
  /** How long the shops are open. */
  readonly seconds: number;
  /** Where the streams live. */
  readonly log: LogType;
  readonly screen: Screen;
  readonly random: Random;
  readonly signal: AbortSignal;
}

export interface DemoResult {
  readonly events: number;
  readonly conflicts: number;
  readonly regions: readonly string[];
  readonly links: readonly {
    readonly source: string;
    readonly target: string;
    readonly lag_p50_ms: number | null;
    readonly lag_p99_ms: number | null;
  }[];
  readonly converged: boolean;
}

/** Shares of the time until the region is lost, and until it comes back. */
const LOST_AT = 0.3;
const BACK_AT = 0.5;
const DRAW_MS = 500;
const POLL_MS = 200;
const CAUGHT_UP_MS = 500;
const CONVERGE_LIMIT_MS = 120_000;
const MEASURED_LIMIT_MS = 60_000;
/** All quiet for longer than two heartbeats, and nothing that waits longer than for the next one. */
const QUIET_MS = 2_500;
const QUIET_LAG_MS = 1_000;
const SETTLE_MS = 5_000;
const CONFLICTS_SHOWN = 3;

interface Shop {
  readonly region: DemoRegion;
  readonly workload: ShopWorkload;
}

export class Story {
  readonly #options: DemoOptions;
  readonly #lostRegion: string;
  readonly #shops: readonly Shop[];
  readonly #observer: Observer;
  readonly #unexpected: unknown[] = [];
  /** When the lost region was started again, until it has caught up. */
  #catchingUpSinceMs: number | null = null;

  constructor(regions: readonly DemoRegion[], lostRegion: string, options: DemoOptions) {
    this.#options = options;
    this.#lostRegion = lostRegion;
    this.#shops = regions.map((region) => ({
      region,
      workload: new ShopWorkload(region.url, options.random, (error) => this.#unexpected.push(error)),
    }));
    this.#observer = new Observer(
      this.#shops.map(({ region, workload }) => ({
        name: region.name,
        agent: region.agent,
        transactions: () => workload.transactions,
      })),
    );
  }

  async tell(): Promise<DemoResult> {
    const { seconds } = this.#options;
    const openedMs = performance.now();
    const at = (share: number): number => openedMs + share * seconds * 1_000;
    for (const { workload } of this.#shops) workload.start();
    this.#say(
      'All three take writes now. In each, shoppers and clerks change the same prices, stock and carts on purpose.',
    );
    await this.#watchUntil(at(LOST_AT));
    const undisturbed = await this.#watchUntilMeasured();
    // What follows has its time, also where that took long.
    const lateMs = Math.max(0, performance.now() - at(LOST_AT));
    const lost = await this.#lose();
    await this.#watchUntil(at(BACK_AT) + lateMs);
    await this.#bringBack(lost);
    await this.#watchUntil(at(1) + lateMs);
    await this.#watchWhile(this.closeShops());
    this.#say('The shops are closed. Waiting until nothing is under way any more …');
    const isQuiet = await this.#becomesQuiet();
    this.#say(
      isQuiet
        ? 'Every link has a lag of 0. Comparing all rows of all regions …'
        : 'Not all links became quiet. Comparing the rows all the same …',
    );
    const report = await this.#watchWhile(this.#verify());
    const conflicts = await this.#conflicts();
    this.#options.screen.finish();
    this.#tellConflicts(conflicts);
    const converged = isQuiet && report.equal;
    await this.#conclude(report, converged);
    return {
      events: this.#observer.events,
      conflicts: conflicts.length,
      regions: this.#names,
      links: undisturbed.map((link) => ({
        source: link.source_region,
        target: link.target_region,
        lag_p50_ms: link.lag_p50_ms,
        lag_p99_ms: link.lag_p99_ms,
      })),
      converged,
    };
  }

  get #names(): string[] {
    return this.#shops.map(({ region }) => region.name);
  }

  async closeShops(): Promise<void> {
    await Promise.all(this.#shops.map(({ workload }) => workload.stop()));
  }

  async #lose(): Promise<{ shop: Shop; atMs: number; events: number }> {
    const shop = this.#shops.find(({ region }) => region.name === this.#lostRegion);
    invariant(shop !== undefined, 'the region to lose is one of the three');
    this.#say(`Killing ${this.#lostRegion} with kill -9: its database and its agent, in the middle of their work.`);
    this.#observer.setState(this.#lostRegion, 'down');
    await shop.region.lose();
    await shop.workload.stop();
    const others = this.#names.filter((name) => name !== this.#lostRegion).join(' and ');
    this.#say(`Region ${this.#lostRegion} is down: ${others} go on. What they write waits in the log.`);
    return { shop, atMs: performance.now(), events: this.#observer.events };
  }

  async #bringBack({ shop, atMs, events }: { shop: Shop; atMs: number; events: number }): Promise<void> {
    const { signal } = this.#options;
    const waiting = this.#observer.events - events;
    this.#say(
      `${this.#lostRegion} was down for ${duration(performance.now() - atMs)}: ${count(waiting)} events wait for it. Bringing it back …`,
    );
    const startedMs = performance.now();
    await this.#watchWhile(shop.region.restartServer());
    this.#observer.setState(this.#lostRegion, 'up');
    shop.workload.start();
    this.#say(
      `The database of ${this.#lostRegion} has recovered and takes writes. Its agent starts as soon as the lease of the killed one has run out …`,
    );
    await this.#watchWhile(shop.region.startAgent(signal));
    this.#say(`The agent of ${this.#lostRegion} goes on where the killed one stood.`);
    this.#catchingUpSinceMs = startedMs;
  }

  /** True once no link has had more to do for a while than to hear a heartbeat, of which there is always one under way. */
  async #becomesQuiet(): Promise<boolean> {
    const limitMs = performance.now() + CONVERGE_LIMIT_MS;
    let quietSinceMs = Number.POSITIVE_INFINITY;
    for (let now = 0; now < limitMs; now = performance.now()) {
      const board = await this.#draw();
      const isQuiet = board.links.every(
        ({ lagMs, waiting }) => lagMs !== null && lagMs < QUIET_LAG_MS && waiting !== null && waiting <= 1,
      );
      if (!isQuiet) quietSinceMs = Number.POSITIVE_INFINITY;
      else quietSinceMs = Math.min(quietSinceMs, performance.now());
      if (performance.now() - quietSinceMs >= QUIET_MS) return true;
      await delay(POLL_MS, undefined, { signal: this.#options.signal });
    }
    return false;
  }

  async #verify(): Promise<VerifyReport> {
    const tables = { include: ['public.*'], exclude: [] };
    const regions = this.#shops.map(({ region }) => ({ region: region.name, url: region.url, tables }));
    return await verifyRegions({ regions, settleMs: SETTLE_MS });
  }

  /** Every conflict once, from whichever region knows of it. */
  async #conflicts(): Promise<Conflict[]> {
    const lists = await Promise.all(this.#shops.map(({ region }) => region.agent.conflicts(this.#options.signal)));
    return [...new Map(lists.flat().map((conflict) => [conflict.conflict_id, conflict])).values()];
  }

  #tellConflicts(conflicts: readonly Conflict[]): void {
    if (conflicts.length === 0) return;
    const { screen } = this.#options;
    screen.say(
      `${count(conflicts.length)} writes were made without knowing of a later one to the same row. Three of them:`,
    );
    for (const conflict of pickConflicts(conflicts, CONFLICTS_SHOWN)) {
      for (const line of tellConflict(conflict)) screen.say(`  ${line}`);
    }
    screen.say('');
  }

  async #conclude(report: VerifyReport, converged: boolean): Promise<void> {
    const { screen } = this.#options;
    screen.say(renderReport(report).trimEnd());
    if (converged) return;
    const kept = await mkdtemp(join(tmpdir(), 'syncline-demo-logs-'));
    for (const { region } of this.#shops) await cp(region.logPath, join(kept, basename(region.logPath)));
    const states = this.#observer.links.map(
      (link) =>
        `${link.link_id} ${link.status}, lag ${duration(link.lag_ms)}, ${link.quarantined} in quarantine${link.reason === null ? '' : `: ${link.reason.code} ${link.reason.detail}`}`,
    );
    const error = fail('SYN-D003', `the logs of the agents are kept in ${kept}`);
    screen.say(screen.paint('red', `${error.message}\n  ${error.remedy}`));
    for (const state of states) screen.say(`  ${state}`);
  }

  #say(text: string): void {
    this.#options.screen.say(text);
  }

  async #draw(): Promise<BoardView> {
    const [unexpected] = this.#unexpected;
    if (unexpected !== undefined) throw unexpected;
    for (const { region } of this.#shops) await region.throwIfAgentEnded();
    const board = await this.#observer.observe(this.#options.signal);
    this.#options.screen.show(board);
    const sinceMs = this.#catchingUpSinceMs;
    if (sinceMs !== null && hasCaughtUp(board, this.#lostRegion)) {
      this.#catchingUpSinceMs = null;
      this.#say(`${this.#lostRegion} has caught up, ${duration(performance.now() - sinceMs)} after its start.`);
    }
    return board;
  }

  /** The links, once each has told how long its events take: on a slow machine the first of them are long on their way. */
  async #watchUntilMeasured(): Promise<readonly LinkState[]> {
    const limitMs = performance.now() + MEASURED_LIMIT_MS;
    const all = this.#shops.length * (this.#shops.length - 1);
    for (;;) {
      const { links } = this.#observer;
      const measured = links.filter(({ lag_p50_ms }) => lag_p50_ms !== null);
      if (measured.length === all || performance.now() >= limitMs) return links;
      await this.#watchUntil(performance.now() + POLL_MS);
    }
  }

  /** Keeps the picture fresh until then. */
  async #watchUntil(endMs: number): Promise<BoardView> {
    for (;;) {
      const board = await this.#draw();
      const restMs = endMs - performance.now();
      if (restMs <= 0) return board;
      await delay(Math.min(DRAW_MS, restMs), undefined, { signal: this.#options.signal });
    }
  }

  /** Keeps the picture fresh while the work goes on. */
  async #watchWhile<T>(work: Promise<T>): Promise<T> {
    const done = new AbortController();
    const ended = work.finally(() => done.abort());
    ended.catch(() => undefined); // It is awaited below, after the last picture.
    while (!done.signal.aborted) {
      await this.#draw();
      await delay(DRAW_MS, undefined, { signal: AbortSignal.any([done.signal, this.#options.signal]) }).catch(
        () => undefined,
      );
      this.#options.signal.throwIfAborted();
    }
    return await ended;
  }
}

/** The links into the region that was away are as fresh as the others. */
function hasCaughtUp(board: BoardView, region: string): boolean {
  const links = board.links.filter(({ target }) => target === region);
  return links.every(({ lagMs }) => lagMs !== null && lagMs < CAUGHT_UP_MS);
}
