/**
 * What users do: a few of them in each region, with transactions of a few statements on a few rows.
 *
 * `kv` and `other` are written by everybody. In `owned` each region writes rows of its own, whose unique values move
 * from row to row: within one region they never collide, so they must not on their way either. In `claims` everybody writes
 * the same rows with the same unique values, two to a row.
 */
import type { Image } from '../../src/change/change-event.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import type { Random } from '../../src/platform/random.ts';
import { FIRST_VERSION, VERSIONS } from './merging.ts';
import { ModelSession } from './model-foreground.ts';
import { CLAIMS, type KeptParked, LATE, MERGED } from './model-store.ts';
import type { Step } from './model-transaction.ts';
import type { Region } from './region.ts';
import type { WorldView } from './world-view.ts';

/** Not PostgreSQL's own zero, which is how the WAL tells that no time was given. */
const LONG_AGO_MICROS = 915_148_800_000_000n;
const FAR_AHEAD_MICROS = 31_536_000_000_000n;

export const TABLES = ['kv', 'other', 'owned', CLAIMS, MERGED] as const;
/** Activations of merge rules of a seed. */
const VERSIONS_MAX = VERSIONS.length;
/** How much of the work is on a table that is published in mid-run. */
const LATE_SHARE = 0.5;
/** What an application expects of a database: unique violations, deadlocks, lost connections. */
const EXPECTED_STATES = new Set(['23505', '40P01', '57P02']);

export class Workload {
  readonly #world: WorldView;
  readonly #random: Random;
  #users = 0;
  #values = 0;
  #versions = FIRST_VERSION;

  constructor(world: WorldView) {
    this.#world = world;
    this.#random = world.random;
  }

  /** A user's session: some transactions, one after the other. */
  async user(region: Region, transactionsMax: number): Promise<void> {
    const random = this.#random;
    this.#users += 1;
    const actor = `${region.name}/user${this.#users}`;
    const step = async (what: string): Promise<void> => await this.#world.scheduler.step(actor, what);
    for (let transactions = 1 + random.below(transactionsMax); transactions > 0; transactions -= 1) {
      const session = new ModelSession(region.database, step);
      const statements = 1 + random.below(random.chance(0.1) ? 8 : 3);
      await attempt(session, async () => {
        if (this.#world.conditions.foreignRate > 0 && random.chance(this.#world.conditions.foreignRate)) {
          session.foreignOrigin(this.#foreignMicros());
        }
        const parked = random.chance(0.2) ? [...region.store.parked.values()] : [];
        if (parked.length > 0) await this.#decide(session, region.name, random.pick(parked));
        else
          for (let left = statements; left > 0; left -= 1)
            await this.#statement(session, region.name, isSettingAside(region));
        if (random.chance(0.1)) session.rollback();
        else await session.commit(async () => await this.#linger(actor));
      });
    }
  }

  /** Removes all rows of the late table. */
  async clear(region: Region): Promise<void> {
    this.#users += 1;
    const actor = `${region.name}/user${this.#users}`;
    const session = new ModelSession(region.database, async (what) => await this.#world.scheduler.step(actor, what));
    await attempt(session, async () => {
      for (const id of [...region.database.table(LATE).slots.keys()].sort()) await session.delete(LATE, id);
      await session.commit();
    });
  }

  /** A region's heartbeats. */
  async heart(region: Region, beats: number, restsMax: number): Promise<void> {
    const { scheduler, regions } = this.#world;
    const actor = `${region.name}/heart`;
    const step: Step = async (what) => await scheduler.step(actor, what);
    for (let left = beats; left > 0; left -= 1) {
      await step('heartbeat');
      const session = new ModelSession(region.database, step);
      await attempt(session, async () => {
        session.heartbeat(regions);
        if (this.#random.chance(0.2) && this.#versions < VERSIONS_MAX) session.activate(this.#nextVersion());
        await session.commit();
      });
      await scheduler.rest(actor, 'rests', this.#random.below(restsMax));
    }
  }

  /** Between the commit record and visibility: mostly nothing, sometimes a slow disk or a synchronous standby. */
  async #linger(actor: string): Promise<void> {
    const random = this.#random;
    const steps = random.chance(0.3) ? random.below(60) : random.below(2);
    await this.#world.scheduler.rest(actor, 'commit lingers', steps);
  }

  /** What another tool takes for the time of a commit: long ago, the time itself more or less, or far ahead. */
  #foreignMicros(): bigint {
    const now = this.#world.nowMicros();
    const aside = BigInt(this.#random.below(2_000_000) - 1_000_000);
    // One without any time cannot be told from the one that has its id in another history: then capture stops, SYN-K009.
    const none = this.#world.conditions.restores ? now : 0n;
    return this.#random.pick([none, LONG_AGO_MICROS, now - 1_000n, now + aside, now + FAR_AHEAD_MICROS]);
  }

  #nextVersion(): number {
    this.#versions += 1;
    return this.#versions;
  }

  /** One that the region itself does not refuse. */
  #value(region: string): string {
    const refusal = this.#world.conditions.refusals.get(region);
    do this.#values += 1;
    while (refusal?.covers(`t${this.#values}`) === true);
    return `t${this.#values}`;
  }

  async #statement(session: ModelSession, region: string, isSettingAside: boolean): Promise<void> {
    const random = this.#random;
    if (this.#world.conditions.late && random.chance(LATE_SHARE)) return await this.#lateStatement(session, region);
    if (random.chance(this.#world.conditions.mergingRate)) {
      if (!isSettingAside) await this.#mergingStatement(session, region);
      return;
    }
    if (random.chance(0.15)) return await this.#ownedStatement(session, region);
    if (random.chance(this.#world.conditions.claimingRate)) return await this.#claimingStatement(session, region);
    const table = random.chance(0.8) ? TABLES[0] : TABLES[1];
    const key = String(1 + random.below(3));
    const v = this.#value(region);
    const write = (image: Image): Image => ({ ...image, v });
    const row: Image = { id: key, v, u: null };
    const dice = random.below(100);
    if (dice < 35) {
      if ((await session.update(table, key, write)) === 0) await session.insert(table, key, row);
    } else if (dice < 53) await session.update(table, key, write);
    else if (dice < 73) await session.delete(table, key);
    else if (dice < 80) await session.changeKey(table, key, String(1 + random.below(4)));
    else if (dice < 84) await session.truncate(table);
    else if (dice < 92) {
      session.savepoint('s');
      await session.update(table, key, write);
      if (random.chance(0.5)) session.rollbackTo('s');
    } else if (dice < 95) await session.lockRow(table, key, random.chance(0.5) ? 'update' : 'key share');
    else await session.insert(table, key, row);
  }

  async #lateStatement(session: ModelSession, region: string): Promise<void> {
    const random = this.#random;
    const id = String(1 + random.below(4));
    const v = this.#value(region);
    const dice = random.below(100);
    if (dice < 45) {
      if ((await session.update(LATE, id, (image) => ({ ...image, v }))) === 0)
        await session.insert(LATE, id, { id, v });
    } else if (dice < 65) await session.update(LATE, id, (image) => ({ ...image, v }));
    else if (dice < 88) await session.delete(LATE, id);
    else if (dice < 96) await session.changeKey(LATE, id, String(1 + random.below(5)));
    else await session.truncate(LATE);
  }

  async #ownedStatement(session: ModelSession, region: string): Promise<void> {
    const random = this.#random;
    const table = TABLES[2];
    const key = `${region}${1 + random.below(3)}`;
    const other = `${region}${1 + random.below(3)}`;
    // Where clocks are bad, a row can be gone for a while, and its value be free that long; and a restored region can give
    // away a value that it had given away before.
    const { badClocks, restores } = this.#world.conditions;
    const u = badClocks || restores ? null : `${region}:${1 + random.below(3)}`;
    const v = this.#value(region);
    const dice = random.below(100);
    if (dice < 35) await session.insert(table, key, { id: key, v, u });
    else if (dice < 50) await session.update(table, key, (image) => ({ ...image, v, u }));
    else if (dice < 65) await session.changeKey(table, key, other);
    else if (dice < 80) await session.delete(table, key);
    else await this.#swap(session, table, key, other);
  }

  async #claimingStatement(session: ModelSession, region: string): Promise<void> {
    const random = this.#random;
    const table = TABLES[3];
    const key = String(1 + random.below(4));
    const some = (): string | null => (random.chance(0.3) ? null : String(1 + random.below(3)));
    const claims = { u: some(), w: some() };
    const v = this.#value(region);
    // The tuples of a subtransaction have another id than their events.
    if (random.chance(0.15)) session.savepoint('s');
    const dice = random.below(100);
    if (dice < 40) {
      const change = (image: Image): Image => ({ ...image, v, ...claims });
      if ((await session.update(table, key, change)) === 0) await session.insert(table, key, { id: key, v, ...claims });
    } else if (dice < 55) await session.update(table, key, (image) => ({ ...image, v }));
    else if (dice < 72) await session.delete(table, key);
    else if (dice < 80) await session.changeKey(table, key, String(1 + random.below(5)));
    else if (dice < 83) await session.truncate(table);
    else await this.#swap(session, table, key, String(1 + random.below(4)));
  }

  /** Changes of counters, sets and the like; no user leaves a row that its constraints do not take. */
  async #mergingStatement(session: ModelSession, region: string): Promise<void> {
    const random = this.#random;
    const key = String(1 + random.below(2));
    const { countsOnly } = this.#world.conditions.merging;
    const by = random.below(5) - 2;
    const add = (image: Image): Image => ({ ...image, n: String(Number(image.n ?? 0) + by) });
    if (countsOnly) {
      await session.update(MERGED, key, add);
      return;
    }
    const v = this.#value(region);
    const dice = random.below(100);
    const row: Image = { id: key, v, n: '0', s: '{}', m: '0' };
    if (dice < 40) {
      const change = (image: Image): Image => {
        const added = add(image);
        const n = Number(added.n) < -4 || Number(added.n) >= 6 ? (image.n ?? null) : (added.n ?? null);
        const s = random.chance(0.5) ? toggled(image.s ?? '{}', random.pick(['a', 'b', 'c'])) : (image.s ?? null);
        const m = random.chance(0.3) ? String(random.below(20)) : (image.m ?? null);
        return { ...image, n, s, m, ...(random.chance(0.5) ? { v } : {}) };
      };
      if ((await session.update(MERGED, key, change)) === 0) await session.insert(MERGED, key, row);
    } else if (dice < 62) await session.update(MERGED, key, (image) => ({ ...image, v }));
    else if (dice < 76) await session.delete(MERGED, key);
    else if (dice < 82) await session.changeKey(MERGED, key, String(1 + random.below(3)));
    else if (dice < 85) await session.truncate(MERGED);
    else await session.insert(MERGED, key, row);
  }

  /** An operator decides about a parked row, in a transaction of its own. */
  async #decide(session: ModelSession, region: string, parked: KeptParked): Promise<void> {
    const random = this.#random;
    const u = random.chance(0.5) ? null : String(1 + random.below(3));
    await session.decide(parked, random.chance(0.3) ? null : { ...parked.image, v: this.#value(region), u });
  }

  /** Two rows change their unique values, by way of none. */
  async #swap(session: ModelSession, table: string, one: string, other: string): Promise<void> {
    let [ofOne, ofOther]: (string | null)[] = [null, null];
    const take = async (key: string, u: string | null): Promise<string | null> => {
      let taken: string | null = null;
      await session.update(table, key, (image) => {
        taken = image.u ?? null;
        return { ...image, u };
      });
      return taken;
    };
    ofOne = await take(one, null);
    ofOther = await take(other, ofOne);
    await take(one, ofOther);
  }
}

/** The set without the element if it has it, else with it. */
function toggled(set: string, element: string): string {
  const elements = set
    .slice(1, -1)
    .split(',')
    .filter((each) => each !== '');
  const left = elements.filter((each) => each !== element);
  return `{${(left.length < elements.length ? left : [...elements, element]).join(',')}}`;
}

async function attempt(session: ModelSession, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    session.rollback();
    if (!EXPECTED_STATES.has(sqlStateOf(error) ?? '')) throw error;
  }
}

/**
 * Whether the region holds back what others did to rows that merge. Whoever writes such a row there says that he has seen it, and has
 * not: that is for operators to avoid, as `docs/merging.md` says.
 */
function isSettingAside({ store }: Region): boolean {
  return [...store.quarantine.values()].some(({ table_name }) => table_name === MERGED);
}
