/**
 * A whole simulated system: regions, users who write to all of them, and everything that can go wrong, driven by one
 * seed. The code between the databases is the real one; the fold of all published events is the oracle.
 */
import { UNSETTLED_LIMITS, type UnsettledLimits } from '../../src/apply/history/unsettled-events.ts';
import type { Position } from '../../src/change/position.ts';
import { MemoryLog } from '../../src/log/memory-log.ts';
import { READ_AHEAD } from '../../src/log/transaction-reader.ts';
import { type Random, seededRandom } from '../../src/platform/random.ts';
import { chooseBaseline, loadBaseline, withCounters } from './baseline-rows.ts';
import { checkConflictLogs } from './conflict-invariants.ts';
import { Faults } from './faults.ts';
import type { Failure } from './invariants.ts';
import { checkLateTable } from './late-invariants.ts';
import { chooseMerging } from './merging.ts';
import { LATE } from './model-store.ts';
import { restoreOlderCopy } from './older-copy-actor.ts';
import { checkOrphanLooks, removalsAhead } from './orphan-invariants.ts';
import { type Published, readPublished } from './published.ts';
import { chooseRefusals } from './refusals.ts';
import { Region } from './region.ts';
import { checkRows } from './row-invariants.ts';
import { Scheduler } from './scheduler.ts';
import { checkShadows } from './shadow-invariants.ts';
import { checkStreams } from './stream-invariants.ts';
import { loadLateRows, publishLate } from './transfer-actor.ts';
import { upgradeServer } from './upgrade-actor.ts';
import { TABLES, Workload } from './workload.ts';
import type { Conditions, WorldView } from './world-view.ts';

const STEPS_MAX = 60_000;
const STEPS_PER_ROUND = 50;
const REGIONS = ['a', 'b', 'c', 'd', 'e'];
/** A clock that starts in 2026; Unix µs. */
const START_MICROS = 1_767_225_600_000_000n;
const IDLE_MICROS = 10_000n;
/** Where clocks were bad, the last events may have to be waited for until the local clock has caught up. */
const HELD_MICROS = 500_000n;
const ANY_DRIFT_MICROS = 1_000_000_000_000n;
/** Heartbeats that go round after the end, each further away from the last than the window of stamping. */
const LAST_ROUNDS = 3;
const ROUND_MICROS = 1_000_000n;
/** By when a clock that was set back shows again what it showed before; a stream promises nothing new until then. */
const CAUGHT_UP_MICROS = 120_000_000n;
/** The share of short stories: by processor time they find as much as long ones, and there are more of them. */
const SHORT_SHARE = 0.7;
/** The share of seeds at whose end agents do not start anew. */
const RESTART_SPARED_SHARE = 0.8;
/** Of so many seeds one has a table that is published in mid-run: all others are what they are without it. */
const LATE_EVERY = 7;
/** Likewise, of so many one has a server that is upgraded. */
const UPGRADES_EVERY = 20;
/** Likewise, of so many one has servers that lose unflushed commits. */
const LOSES_COMMITS_EVERY = 3;
/** In three of so many seeds, lanes of some regions sign instead of using replication origins; in one of them they change with each agent. */
const SIGNS_EVERY = 11;
/** Likewise, of so many one has regions with constraints of their own. */
const REFUSES_EVERY = 8;
/** The share of seeds whose clocks are bad; more of them by hand. */
const BAD_CLOCKS_SHARE = process.env.SYNCLINE_BAD_CLOCKS === '1' ? 1 : 0.3;

/** In every other seed, what waits to be settled is soon no longer young. */
function chooseLimits(random: Random, seed: number): UnsettledLimits {
  const { events_max, young_max } = UNSETTLED_LIMITS;
  const own = seededRandom(seed);
  return {
    events_max: random.chance(0.1) ? 1 + random.below(30) : events_max,
    young_max: own.chance(0.5) ? own.below(8) : young_max,
    chunk_events: 1 + own.below(6),
  };
}

function chooseSigning(seed: number, regions: readonly string[]): ReadonlySet<string> {
  if (seed % SIGNS_EVERY > 2) return new Set();
  const chosen = regions.filter((_, place) => ((seed >> (place + 2)) & 1) === 1);
  return new Set(chosen.length > 0 ? chosen : regions);
}

export class World implements WorldView {
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly log = new MemoryLog();
  readonly regions: readonly string[];
  readonly conditions: Conditions;
  isCalm = false;
  appends = 0;
  readonly #regions: Region[];
  readonly #faults: Faults;
  readonly #workload: Workload;
  /** Users and hearts that are not done. */
  #writers = 0;
  #now = START_MICROS;
  #failure: Failure | null = null;

  constructor(seed: number, keepsTrace: boolean) {
    const random = seededRandom(seed);
    this.random = random;
    this.scheduler = new Scheduler(random, keepsTrace);
    this.regions = REGIONS.slice(0, random.pick([3, 3, 3, 3, 3, 4, 5]));
    this.conditions = {
      giantRows: random.chance(0.15) ? 2 + random.below(3) : READ_AHEAD.rows_max,
      lossRate: random.chance(0.2) ? 0.05 : 0,
      claimingRate: random.pick([0.2, 0.2, 0.9]),
      mergingRate: random.pick([0, 0.15, 0.15, 0.8]),
      merging: chooseMerging(random),
      badClocks: random.chance(BAD_CLOCKS_SHARE),
      driftMicros: random.pick([100_000n, 1_000_000n, 60_000_000n]),
      allowsDrift: random.chance(0.5),
      foreignRate: random.chance(0.25) ? random.pick([0.1, 0.5, 0.5]) : 0,
      ...random.pick<Pick<Conditions, 'restores' | 'isSwift'>>([
        { restores: true, isSwift: false },
        { restores: false, isSwift: true },
        { restores: false, isSwift: false },
      ]),
      unsettled: chooseLimits(random, seed),
      notesMax: random.pick([1, 3, 1_000]),
      late: false,
      upgrades: false,
      signing: chooseSigning(seed, this.regions),
      changesSigning: seed % SIGNS_EVERY === 2,
      refusals: seed % REFUSES_EVERY === 0 ? chooseRefusals(seededRandom(seed), this.regions, TABLES) : new Map(),
      losesCommits: seed % LOSES_COMMITS_EVERY === 0,
      baseline: random.chance(0.3) ? chooseBaseline(random, this.regions) : [],
    };
    const { restores } = this.conditions;
    const late = seed % LATE_EVERY === 0;
    const upgrades = !restores && !late && seed % UPGRADES_EVERY === 0;
    this.conditions = { ...this.conditions, late, upgrades };
    // A counter that users only add to is there from the beginning.
    if (this.conditions.merging.countsOnly)
      this.conditions = { ...this.conditions, baseline: withCounters(this.conditions.baseline) };
    this.#regions = this.regions.map((name) => new Region(name, this));
    if (this.conditions.badClocks) for (const { clock } of this.#regions) clock.goWrong(random);
    this.#faults = new Faults(random, this.scheduler, this.log, this.#regions, this.conditions);
    this.#workload = new Workload(this);
    this.scheduler.beforeStep = () => {
      // Mostly microseconds pass, sometimes none at all, now and then more than the window of stamping.
      this.#now += random.chance(this.conditions.isSwift ? 0.2 : 0.02)
        ? BigInt(random.below(120_000))
        : BigInt(random.below(40));
      this.#faults.strike();
    };
  }

  nowMicros(): bigint {
    return this.#now;
  }

  pass(micros: bigint): void {
    this.#now += micros;
  }

  get driftMicros(): bigint {
    return this.isCalm && this.conditions.allowsDrift ? ANY_DRIFT_MICROS : this.conditions.driftMicros;
  }

  appended(): void {
    this.appends += 1;
  }

  isPaused(source: string, target: string): boolean {
    return this.#faults.isPaused(source, target);
  }

  fail(failure: Failure): void {
    this.#failure ??= failure;
  }

  get failure(): Failure | null {
    return this.#failure;
  }

  /** Runs the whole story; resolves with what is wrong, or null. */
  async run(): Promise<Failure | null> {
    const isShort = this.random.chance(SHORT_SHARE);
    let working = 0;
    const users = (region: Region): void => {
      for (let count = 1 + (isShort ? 0 : this.random.below(2)); count > 0; count -= 1) {
        working += 1;
        this.#starts(
          this.#workload.user(region, isShort ? 2 : 5).finally(() => {
            working -= 1;
          }),
        );
      }
    };
    for (const region of this.#regions) {
      for (const table of TABLES) region.database.table(table);
      if (this.conditions.late) loadLateRows(region.database, this.random);
      loadBaseline(region.database, this.conditions.baseline, this.random);
      region.startAgent();
      if (this.conditions.late) this.#starts(publishLate(region, this));
      users(region);
      const beats = this.conditions.isSwift ? 4 + this.random.below(6) : 1 + this.random.below(isShort ? 2 : 4);
      this.#starts(this.#workload.heart(region, beats, 20));
    }
    const [first] = this.#regions;
    if (this.conditions.upgrades && first !== undefined) {
      const goOn = (): void => this.#regions.forEach(users);
      this.#starts(upgradeServer(first, this.#regions, this, this.#workload, () => working === 0, goOn));
    }
    if (this.conditions.late && this.conditions.restores)
      this.#starts(restoreOlderCopy(this.random.pick(this.#regions), this.#regions, this, this.#workload));
    return (
      (await this.#settle()) ??
      (await this.#check()) ??
      (await this.#checkForgetting()) ??
      (await this.#checkConflicts())
    );
  }

  async published(): Promise<Published> {
    return await readPublished(this.log, this.regions);
  }

  #starts(writer: Promise<void>): void {
    this.#writers += 1;
    writer.then(
      () => {
        this.#writers -= 1;
      },
      (error: unknown) => this.fail({ invariant: 'runs', message: `a writer failed: ${String(error)}` }),
    );
  }

  /** Lets everybody go on until all is written, published and applied. */
  async #settle(): Promise<Failure | null> {
    for (let round = 0; round < STEPS_MAX / STEPS_PER_ROUND; round += 1) {
      const hasStopped = await this.scheduler.run(STEPS_PER_ROUND);
      if (this.#failure !== null) return this.#failure;
      if (this.#writers === 0) {
        this.isCalm = true;
        this.#faults.end();
        for (const refusal of this.conditions.refusals.values()) refusal.drop();
        if (this.#isSettled()) return null;
      } else if (hasStopped) return { invariant: 'settles', message: 'every actor waits for another' };
      if (hasStopped) {
        this.#now += this.isCalm && this.conditions.badClocks ? HELD_MICROS : IDLE_MICROS;
        // Regions beat for ever; without users the simulation does so only where somebody waits for it.
        if (this.#writers === 0) this.#beat();
      }
    }
    const standing = this.#regions.map((region) => region.tell()).join('; ');
    return { invariant: 'settles', message: `not settled after ${this.scheduler.steps} steps: ${standing}` };
  }

  #beat(): void {
    for (const region of this.#regions) this.#starts(this.#workload.heart(region, 1, 1));
  }

  #isSettled(): boolean {
    const tails = new Map<string, Position>();
    for (const { name, database, slot, capture } of this.#regions) {
      const last = database.wal.at(-1);
      if (last !== undefined && slot.confirmedLsn < last.endLsn) return false;
      const tail = capture?.lastPosition;
      if (tail === undefined) return false;
      if (tail !== null) tails.set(name, tail);
    }
    return this.#regions.every((region) => region.isSettled(tails));
  }

  async #check(): Promise<Failure | null> {
    const published = await this.published();
    const failure = checkStreams(this.#regions, published);
    if (failure !== null) return failure;
    for (const table of TABLES) {
      const wrong = checkRows(this.#regions, published, table, this.conditions);
      if (wrong !== null) return wrong;
    }
    return this.conditions.late ? checkLateTable(this.#regions, published) : null;
  }

  async #checkConflicts(): Promise<Failure | null> {
    const { late, restores } = this.conditions;
    // Of what is settled nothing is kept that a region could be told to have missed which comes back as a copy from before it.
    if (late && restores) return null;
    const published = await this.published();
    const tables = late ? [...TABLES, LATE] : TABLES;
    const failure =
      checkConflictLogs(this.#regions, published, tables, this.conditions) ??
      checkShadows(this.#regions, this.conditions) ??
      checkOrphanLooks(this.#regions, published, this.conditions);
    if (failure !== null || this.random.chance(RESTART_SPARED_SHARE)) return failure;
    // Agents that start anew read back more or less of what is settled, and must leave the logs as they are.
    for (const region of this.#regions) {
      region.killAgent(false);
      region.startAgent();
    }
    const unsettled = await this.#checkForgetting();
    return unsettled ?? checkConflictLogs(this.#regions, published, tables, this.conditions);
  }

  /** What is stable is forgotten, and removals are looked at, within so many rounds; how many it takes is a matter of the schedule. */
  async #checkForgetting(): Promise<Failure | null> {
    if (this.conditions.badClocks) this.#now += CAUGHT_UP_MICROS;
    let kept: string[] = [];
    let ahead: string[] = [];
    for (let round = 0; round < LAST_ROUNDS; round += 1) {
      this.#now += ROUND_MICROS;
      this.#beat();
      const failure = await this.#settle();
      if (failure !== null) return failure;
      kept = [];
      for (const region of this.#regions) kept.push(...(await this.#keptBy(region)));
      ahead = kept.length > 0 ? [] : removalsAhead(this.#regions, await this.published(), this.conditions);
      if (kept.length + ahead.length === 0) return null;
    }
    if (ahead.length > 0) return { invariant: 'orphans-found', message: ahead.join('; ') };
    return { invariant: 'forgets', message: kept.join('; ') };
  }

  /** What a region still keeps once it has pruned. */
  async #keptBy({ name, apply, store, slot }: Region): Promise<string[]> {
    // What came of conflicts is read from histories, so these go last; the lane may be settling in a turn of its own.
    const pruning = (async () => {
      for (let turn = 0; turn < 2; turn += 1) {
        await apply?.settleConflicts();
        await apply?.prune();
      }
    })();
    await this.scheduler.run(2 * STEPS_PER_ROUND);
    await pruning;
    const { tombstones, looks, merges } = store;
    const versions = [...store.versions.values()].filter((kept) => !store.straddlesParked(kept));
    const notes = store.notes.filter((note) => note.lsn <= slot.confirmedLsn).length;
    // What was forgotten unsettled stays as it is.
    const open = [...store.conflicts.values()].filter(
      ({ provisional, provisional_reason }) => provisional && provisional_reason !== 'forgotten',
    ).length;
    if (versions.length + tombstones.size + looks.size + merges.size + open === 0 && notes <= 1) return [];
    const rest = `${looks.size} looks, ${notes} notes, ${merges.size} rows that merge, ${open} open conflicts`;
    return [`${name} still keeps ${versions.length} versions, ${tombstones.size} tombstones, ${rest}`];
  }
}
