/** What goes wrong while a simulated system works: each seed has some of it, at a rate of its own. */
import type { MemoryLog } from '../../src/log/memory-log.ts';
import type { Random } from '../../src/platform/random.ts';
import type { Region } from './region.ts';
import type { Scheduler } from './scheduler.ts';
import type { Conditions } from './world-view.ts';

/** How often a seed's regions are restored: each time brings what is to be applied again. */
const RESTORES_MAX = 3;
/** Snapshots that are kept of a region: an older history may come back after a younger one. */
const COPIES_MAX = 3;

/** Probabilities per step. */
type Rates = {
  readonly agentDies: number;
  readonly serverCrashes: number;
  readonly walIsFlushed: number;
  readonly linkPauses: number;
  readonly appendCrashes: number;
  readonly lockTimesOut: number;
  readonly clockIsSet: number;
  readonly slotIsSaved: number;
  readonly isCopied: number;
  readonly isRestored: number;
};

export class Faults {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #log: MemoryLog;
  readonly #regions: readonly Region[];
  readonly #rates: Rates;
  readonly #paused = new Set<string>();
  readonly #copies = new Map<Region, NonNullable<ReturnType<Region['snapshot']>>[]>();
  #restoresLeft = RESTORES_MAX;
  #isOver = false;

  constructor(
    random: Random,
    scheduler: Scheduler,
    log: MemoryLog,
    regions: readonly Region[],
    conditions: Conditions,
  ) {
    this.#random = random;
    this.#scheduler = scheduler;
    this.#log = log;
    this.#regions = regions;
    const some = (probability: number, rate: number): number => (random.chance(probability) ? rate : 0);
    const { restores, badClocks, losesCommits } = conditions;
    this.#rates = {
      agentDies: some(0.4, 0.004),
      serverCrashes: losesCommits ? 0.004 : some(0.2, 0.002),
      walIsFlushed: losesCommits ? 0.02 : 0,
      linkPauses: some(0.3, 0.01),
      appendCrashes: some(0.2, 0.003),
      lockTimesOut: some(0.5, 0.05),
      clockIsSet: badClocks ? random.pick([0, 0.002, 0.02]) : 0,
      slotIsSaved: 0.01,
      isCopied: restores ? 0.015 : 0,
      isRestored: restores ? 0.01 : 0,
    };
  }

  isPaused(source: string, target: string): boolean {
    return source !== target && this.#paused.has(`${source}:${target}`);
  }

  /** No more faults: links resume, agents run, clocks are right. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#paused.clear();
    for (const region of this.#regions) {
      region.clock.goRight();
      if (!region.isServed) region.startAgent();
    }
  }

  /** Lets happen what happens in this step. */
  strike(): void {
    const random = this.#random;
    if (this.#isOver) return;
    const rates = this.#rates;
    const { agentDies, serverCrashes, linkPauses, appendCrashes, lockTimesOut, clockIsSet, slotIsSaved } = this.#rates;
    const strikes = (rate: number): boolean => rate > 0 && random.chance(rate);
    if (strikes(lockTimesOut)) random.pick(this.#regions).apply?.expireLockWait();
    if (strikes(slotIsSaved)) random.pick(this.#regions).slot.save();
    if (strikes(clockIsSet)) random.pick(this.#regions).clock.set(random);
    if (strikes(agentDies)) this.#killOrStart(random.pick(this.#regions));
    if (strikes(serverCrashes)) {
      const region = random.pick(this.#regions);
      this.#scheduler.note(`${region.name}: server crashes`);
      region.crashDatabase((unflushed) => (unflushed === 0 ? 0 : random.below(unflushed + 1)));
    }
    if (strikes(rates.walIsFlushed)) random.pick(this.#regions).database.flush();
    if (strikes(rates.isCopied)) this.#copy(random.pick(this.#regions));
    if (strikes(rates.isRestored)) this.#restore(random.pick(this.#regions));
    if (strikes(appendCrashes)) this.#log.crashAppend(random.pick(this.#regions).name, random.below(3));
    if (strikes(linkPauses)) {
      const link = `${random.pick(this.#regions).name}:${random.pick(this.#regions).name}`;
      if (!this.#paused.delete(link)) this.#paused.add(link);
    }
  }

  #copy(region: Region): void {
    const copy = region.snapshot();
    if (copy === null) return;
    this.#scheduler.note(`${region.name}: disk is copied`);
    const copies = this.#copies.get(region) ?? [];
    this.#copies.set(region, [...copies, copy].slice(-COPIES_MAX));
  }

  #restore(region: Region): void {
    const copies = this.#copies.get(region);
    if (copies === undefined || this.#restoresLeft === 0) return;
    this.#restoresLeft -= 1;
    const copy = this.#random.pick(copies);
    this.#scheduler.note(`${region.name}: disk is restored`);
    copy({ skips: this.#random.pick([0, 0, 1, 5]), losesSlot: this.#random.chance(0.5) });
  }

  #killOrStart(region: Region): void {
    if (!region.isServed) {
      region.startAgent();
      return;
    }
    const lingers = this.#random.chance(0.5);
    this.#scheduler.note(`${region.name}: agent dies${lingers ? ', its capture lingers' : ''}`);
    region.killAgent(lingers);
    if (this.#random.chance(0.7)) region.startAgent();
  }
}
