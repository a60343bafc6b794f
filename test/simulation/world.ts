/**
 * A whole simulated system: regions, users who write to all of them, and everything that can go wrong, driven by one
 * seed. At the end every region must hold what the fold of all published events holds.
 */

import type { ChangeEvent, Image } from '../../src/change/change-event.ts';
import { hlcFromText } from '../../src/change/hlc.ts';
import type { Position } from '../../src/change/position.ts';
import { VERSION_ZERO } from '../../src/change/version.ts';
import { MemoryLog } from '../../src/log/memory-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import { type Random, seededRandom } from '../../src/platform/random.ts';
import { type FoldEvent, foldRow } from '../../src/resolve/fold.ts';
import { ModelSession } from './model-foreground.ts';
import { Region, type WorldView } from './region.ts';
import { Scheduler } from './scheduler.ts';

const STEPS_MAX = 60_000;
const TABLES = ['kv', 'other'] as const;
/** A clock that starts in 2026; Unix µs. */
const START_MICROS = 1_767_225_600_000_000n;

export type Outcome = {
  readonly seed: number;
  readonly failure: string | null;
  readonly trace: readonly string[];
  readonly steps: number;
};

export class World implements WorldView {
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly log = new MemoryLog();
  readonly regions: readonly string[];
  readonly #regions: Region[];
  readonly #paused = new Set<string>();
  #now = START_MICROS;
  #appends = 0;
  #users = 0;
  #tokens = 0;
  #faults: { crash: number; database: number; pause: number; append: number; lock: number };
  #failure: string | null = null;

  constructor(seed: number, keepsTrace: boolean) {
    this.random = seededRandom(seed);
    this.scheduler = new Scheduler(this.random, keepsTrace);
    const count = this.random.pick([3, 3, 3, 4, 5]);
    this.regions = ['a', 'b', 'c', 'd', 'e'].slice(0, count);
    this.#regions = this.regions.map((name) => new Region(name, this));
    const some = (probability: number, rate: number): number => (this.random.chance(probability) ? rate : 0);
    this.#faults = {
      crash: some(0.4, 0.004),
      database: some(0.2, 0.002),
      pause: some(0.3, 0.01),
      append: some(0.2, 0.003),
      lock: some(0.5, 0.05),
    };
    this.scheduler.beforeStep = () => this.#beforeStep();
  }

  nowMicros(): bigint {
    return this.#now;
  }

  appends(): number {
    return this.#appends;
  }

  appended(): void {
    this.#appends += 1;
  }

  isPaused(source: string, target: string): boolean {
    return source !== target && this.#paused.has(`${source}:${target}`);
  }

  /** Runs the whole story; resolves with what is wrong at its end, or null. */
  async run(): Promise<string | null> {
    for (const region of this.#regions) {
      for (const table of TABLES) region.database.table(table);
      await region.startAgent();
    }
    const users: Promise<void>[] = [];
    for (const region of this.#regions) {
      for (let count = 1 + this.random.below(2); count > 0; count -= 1) users.push(this.#user(region));
      users.push(this.#heart(region));
    }
    this.#users = users.length;
    for (const user of users) {
      void user.then(
        () => {
          this.#users -= 1;
        },
        (error: unknown) => this.#fail(`a user failed: ${String(error)}`),
      );
    }
    for (let round = 0; round < STEPS_MAX / 50; round += 1) {
      const stopped = await this.scheduler.run(50);
      if (this.#failure !== null) return this.#failure;
      if (this.#users === 0) {
        await this.#calm();
        if (await this.#isSettled()) return await this.#compare();
      }
      if (stopped && this.#users > 0) return 'every actor waits for another';
      if (stopped) this.#now += 10_000n;
    }
    return `not settled after ${STEPS_MAX} steps`;
  }

  failed(reason: unknown): void {
    this.#fail(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
  }

  #fail(message: string): void {
    this.#failure ??= message;
  }

  /** No more faults: links resume, agents run. */
  async #calm(): Promise<void> {
    this.#paused.clear();
    this.#faults = { crash: 0, database: 0, pause: 0, append: 0, lock: 0 };
    for (const region of this.#regions) if (region.agent === null) await region.startAgent();
  }

  #beforeStep(): void {
    const { random } = this;
    // Mostly microseconds pass, sometimes none at all, now and then more than the window of stamping.
    this.#now += random.chance(0.02) ? BigInt(random.below(120_000)) : BigInt(random.below(40));
    const { crash, database, pause, append, lock } = this.#faults;
    if (lock > 0 && random.chance(lock)) random.pick(this.#regions).expireLockWait();
    if (crash > 0 && random.chance(crash)) {
      const region = random.pick(this.#regions);
      if (region.agent === null) void region.startAgent();
      else {
        const zombie = random.chance(0.5);
        this.scheduler.note(`${region.name}: agent dies${zombie ? ', its capture lingers' : ''}`);
        region.killAgent(zombie);
        if (random.chance(0.7)) void region.startAgent();
      }
    }
    if (database > 0 && random.chance(database)) {
      const region = random.pick(this.#regions);
      this.scheduler.note(`${region.name}: database crashes`);
      region.crashDatabase();
    }
    if (append > 0 && random.chance(append)) this.log.crashAppend(random.pick(this.regions), random.below(3));
    if (pause > 0 && random.chance(pause)) {
      const link = `${random.pick(this.regions)}:${random.pick(this.regions)}`;
      if (!this.#paused.delete(link)) this.#paused.add(link);
    }
  }

  async #heart(region: Region): Promise<void> {
    const actor = `${region.name}/heart`;
    for (let beats = 2 + this.random.below(4); beats > 0; beats -= 1) {
      const session = new ModelSession(region.database, async (what) => await this.scheduler.step(actor, what));
      await this.scheduler.step(actor, 'heartbeat');
      try {
        session.heartbeat(this.regions);
        await session.commit();
      } catch (error) {
        if (sqlStateOf(error) !== '57P02') throw error;
      }
      for (let rest = this.random.below(20); rest > 0; rest -= 1) await this.scheduler.step(actor, 'rests');
    }
  }

  async #user(region: Region): Promise<void> {
    this.#tokens += 1;
    const actor = `${region.name}/user${this.#tokens}`;
    const step = async (what: string): Promise<void> => await this.scheduler.step(actor, what);
    for (let transactions = 1 + this.random.below(5); transactions > 0; transactions -= 1) {
      const session = new ModelSession(region.database, step);
      try {
        for (let statements = 1 + this.random.below(3); statements > 0; statements -= 1) await this.#statement(session);
        if (this.random.chance(0.1)) session.rollback();
        else await session.commit(async () => await this.#linger(step));
      } catch (error) {
        session.rollback();
        const state = sqlStateOf(error);
        if (state === undefined || !['23505', '40P01', '57P02'].includes(state)) throw error;
      }
    }
  }

  /** Between the commit record and visibility: mostly nothing, sometimes a slow disk or a synchronous standby. */
  async #linger(step: (what: string) => Promise<void>): Promise<void> {
    const steps = this.random.chance(0.3) ? this.random.below(60) : this.random.below(2);
    for (let rest = steps; rest > 0; rest -= 1) await step('commit lingers');
  }

  async #statement(session: ModelSession): Promise<void> {
    const { random } = this;
    const table = random.chance(0.8) ? TABLES[0] : TABLES[1];
    const key = String(1 + random.below(3));
    this.#tokens += 1;
    const value = `t${this.#tokens}`;
    const dice = random.below(100);
    if (dice < 35) {
      if ((await session.update(table, key, (image) => ({ ...image, v: value }))) === 0) {
        await session.insert(table, key, { id: key, v: value, u: null });
      }
    } else if (dice < 55) await session.update(table, key, (image) => ({ ...image, v: value }));
    else if (dice < 75) await session.delete(table, key);
    else if (dice < 82) await session.changeKey(table, key, String(1 + random.below(4)));
    else if (dice < 86) await session.truncate(table);
    else if (dice < 92) {
      session.savepoint('s');
      await session.update(table, key, (image) => ({ ...image, v: value }));
      if (random.chance(0.5)) session.rollbackTo('s');
    } else await session.insert(table, key, { id: key, v: value, u: null });
  }

  async #isSettled(): Promise<boolean> {
    const tails = new Map<string, Position | null>();
    for (const region of this.#regions) {
      const last = region.database.wal.at(-1);
      if (last !== undefined && region.confirmedLsn < last.endLsn) return false;
      tails.set(region.name, region.tail);
    }
    return this.#regions.every((region) => region.isSettled(tails));
  }

  async #compare(): Promise<string | null> {
    const published = await this.#published();
    const committed = this.#regions.reduce(
      (sum, region) => sum + region.database.wal.reduce((rows, entry) => rows + entry.changes.length, 0),
      0,
    );
    if (published.length !== committed) return `${committed} changes were committed, ${published.length} published`;
    const ids = new Set(published.map((event) => event.event_id));
    if (ids.size !== published.length) return 'an event was published twice';
    for (const table of TABLES) {
      const expected = this.#fold(published.filter((event) => event.table_name === table));
      for (const region of this.#regions) {
        const actual = rowsOf(region, table);
        if (actual !== expected)
          return `${region.name}.${table} holds ${actual}, the fold of all events is ${expected}`;
      }
    }
    return null;
  }

  /** Every published event in the order of versions, one line each: for whoever looks into a failing seed. */
  async story(): Promise<string[]> {
    const events = await this.#published();
    events.sort((a, b) => (a.hlc_timestamp < b.hlc_timestamp ? -1 : 1));
    return events.map((event) => {
      const { id, index, commit_lsn, seen } = event.transaction;
      const had = Object.entries(seen).map(
        ([origin, position]) => `${origin}:${Number.parseInt(position.slice(20), 16)}`,
      );
      const what = `${event.operation} ${event.table_name} ${event.before_image?.id ?? ''}→${event.after_image?.id ?? ''}`;
      const where = `${event.region_id}@${Number.parseInt(commit_lsn.slice(2), 16)}`;
      return `${event.hlc_timestamp.slice(8)} ${where} x${id}.${index} ${what} ${event.after_image?.v ?? '-'} seen ${had.join(' ')}`;
    });
  }

  async #published(): Promise<ChangeEvent[]> {
    const events: ChangeEvent[] = [];
    for (const name of this.regions) {
      await using stream = await this.log.reader(name);
      const reader = new TransactionReader(stream, 0);
      while (await reader.fill(0)) {
        const item = reader.shift();
        if (item.kind === 'transaction') events.push(...item.events);
      }
    }
    return events;
  }

  #fold(events: readonly ChangeEvent[]): string {
    const rows = new Map<string, FoldEvent[]>();
    const every: FoldEvent[] = [];
    const add = (key: string, event: ChangeEvent, after: Image | null): void => {
      const { position } = positioned(event);
      const entry: FoldEvent = {
        version: { hlc: hlcFromText(event.hlc_timestamp), origin: event.region_id },
        position,
        index: event.transaction.index,
        seen: event.transaction.seen,
        before: event.before_image,
        after,
      };
      if (key === '') every.push(entry);
      else rows.set(key, [...(rows.get(key) ?? []), entry]);
    };
    for (const event of events) {
      if (event.operation === 'TRUNCATE') {
        add('', event, null);
        continue;
      }
      const key = String(event.row_pk.id);
      const former = event.operation === 'UPDATE' ? (event.before_image?.id ?? key) : key;
      if (former !== key) add(former, event, null);
      add(key, event, event.after_image);
    }
    const folded = [...rows].map(([key, own]) => [key, foldRow([...own, ...every], VERSION_ZERO)] as const);
    return print(folded.flatMap(([key, image]) => (image === null ? [] : [[key, image] as const])));
  }
}

function positioned(event: ChangeEvent): { position: string } {
  return { position: `${event.transaction.epoch}:${event.transaction.commit_lsn.padStart(20, '0')}` };
}

function rowsOf(region: Region, table: string): string {
  const rows: (readonly [string, Image])[] = [];
  for (const [key, slot] of region.database.table(table).slots)
    if (slot.tuple !== null) rows.push([key, slot.tuple.image]);
  return print(rows);
}

function print(rows: readonly (readonly [string, Image])[]): string {
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(sorted.map(([key, image]) => `${key}=${image.v}`));
}

/** Runs one seed. */
export async function simulate(seed: number, keepsTrace = false): Promise<Outcome> {
  const world = new World(seed, keepsTrace);
  const onRejection = (reason: unknown): void => world.failed(reason);
  process.on('unhandledRejection', onRejection);
  try {
    const failure = await world.run();
    const trace = keepsTrace ? [...world.scheduler.trace, ...(await world.story())] : [];
    return { seed, failure, trace, steps: world.scheduler.steps };
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}
