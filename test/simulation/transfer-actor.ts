/**
 * A table that comes to be published while everybody is at work, and the part of an agent that tells what it held.
 *
 * Each region publishes it at a moment of its own, in a transaction that holds its writers off. Until then its users' writes
 * are in no stream; from then on they are. The agent's part is the real rules (`transfer-steps.ts`, `row-claim.ts`) over the
 * modelled database. What regions say of the table are rows that are replicated like any others.
 */
import { hlcFromMicros, hlcFromText, hlcToText } from '../../src/change/hlc.ts';
import type { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { echoedLsn } from '../../src/clock/own-history.ts';
import type { Stability } from '../../src/clock/stability.ts';
import { WINDOW } from '../../src/clock/stamper.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import type { Random } from '../../src/platform/random.ts';
import { claimOf, type RowClaim } from '../../src/transfer/row-claim.ts';
import { isVoid, nextStep, type TransferStep, type TransferWord } from '../../src/transfer/transfer-steps.ts';
import type { ApplyActor } from './apply-actor.ts';
import type { ModelDatabase } from './model-database.ts';
import { ModelSession } from './model-foreground.ts';
import { LATE, modelShape, rowName, SAID } from './model-store.ts';
import type { ModelTuple, Step } from './model-transaction.ts';
import type { Region } from './region.ts';
import type { WorldView } from './world-view.ts';

const LATE_ID = modelShape('public', LATE).id;
const ROWS_PER_CHUNK_MAX = 3;
const EXPECTED_STATES = new Set(['23505', '40P01', '57P02']);

/** What of the table was said, as this region has it. */
export function wordsOn(database: ModelDatabase): TransferWord[] {
  return [...database.table(SAID).slots.values()].flatMap(({ tuple }) => (tuple === null ? [] : [parse(tuple)]));
}

/** Whether the region is telling its rows. */
export function tellsLate({ name, database, store }: Region): boolean {
  return (
    store.holds.has(LATE_ID) && wordsOn(database).some(({ region, state }) => region === name && state === 'ready')
  );
}

/** Rows that are there before replication begins, and differ from region to region. */
export function loadLateRows(database: ModelDatabase, random: Random): void {
  for (const table of [LATE, SAID]) database.table(table);
  database.unpublished.add(LATE);
  const transaction = database.begin({ writer: database.region, local: true, stampMicros: database.now() });
  for (const id of ['1', '2', '3']) {
    if (random.chance(0.5)) continue;
    const slot = database.table(LATE).slot(id);
    database.hold(slot, transaction, 'write');
    database.put(slot, transaction, { id, v: `old-${database.region}` });
  }
  database.enterWal(transaction);
  database.becomeVisible(transaction);
}

/** Publishes the table some time, as capture does that finds it. */
export async function publishLate(region: Region, world: WorldView): Promise<void> {
  const { name, database } = region;
  const step: Step = async (what) => await world.scheduler.step(`${name}/publication`, what);
  for (let rest = world.random.below(200); rest > 0; rest -= 1) await step('not published yet');
  for (;;) {
    const session = new ModelSession(database, step);
    try {
      await session.lockTable(LATE);
      const words = wordsOn(database);
      const generation = Math.max(0, ...words.map((word) => word.generation));
      const own = words.find((word) => word.region === name);
      const next = own?.generation === generation ? generation + 1 : Math.max(1, generation);
      await say(session, { region: name, generation: next, state: 'published', sealed_at: null });
      session.willCommit(() => {
        database.unpublished.delete(LATE);
        return () => void database.unpublished.add(LATE);
      });
      await session.commit();
      return;
    } catch (error) {
      session.rollback();
      if (!EXPECTED_STATES.has(sqlStateOf(error) ?? '')) throw error;
    }
  }
}

export class TransferActor {
  readonly #name: string;
  readonly #region: Region;
  readonly #world: WorldView;
  readonly #ledger: NotesLedger;
  readonly #stability: Stability;
  readonly #apply: ApplyActor;
  #session: ModelSession | null = null;
  /** Where the WAL ended when it was learnt, in this generation, that the table is published everywhere. */
  #learnt: { readonly generation: number; readonly lsn: bigint } | null = null;

  /** What is said, and what follows from it: asked for at each step of a schedule, and hardly ever anew. */
  #said: readonly (ModelTuple | null)[] = [];
  #step: TransferStep = { kind: 'finish' };

  constructor(
    name: string,
    region: Region,
    world: WorldView,
    parts: { readonly ledger: NotesLedger; readonly stability: Stability; readonly apply: ApplyActor },
  ) {
    this.#name = name;
    this.#region = region;
    this.#world = world;
    this.#ledger = parts.ledger;
    this.#stability = parts.stability;
    this.#apply = parts.apply;
  }

  kill(): void {
    this.#world.scheduler.kill(this.#name);
    this.#session?.abandon();
  }

  async run(): Promise<void> {
    const step: Step = async (what) => await this.#world.scheduler.step(this.#name, what);
    for (;;) {
      await this.#world.scheduler.step(this.#name, 'transfer', () => this.#due !== null);
      const due = this.#due;
      if (due === null) continue;
      const session = new ModelSession(this.#region.database, step);
      this.#session = session;
      try {
        await this.#carryOut(due, session);
        await session.commit();
      } catch (error) {
        session.rollback();
        if (!EXPECTED_STATES.has(sqlStateOf(error) ?? '')) throw error;
      }
    }
  }

  /** Whether nothing is left to be done here. */
  static isDone({ name, database, store }: Region, world: WorldView): boolean {
    return nextStep(name, world.regions, wordsOn(database)).kind === 'finish' && !store.holds.has(LATE_ID);
  }

  /** The next step, once it can be made. */
  get #due(): TransferStep | null {
    const { name, database, store, capture } = this.#region;
    if (database.unpublished.has(LATE) || capture?.lastPosition === undefined) return null;
    const step = this.#nextStep;
    if (this.#isVoid(step)) return step;
    switch (step.kind) {
      case 'seal': {
        const generation = this.#ownWord().generation;
        if (this.#learnt?.generation !== generation) this.#learnt = { generation, lsn: database.nextLsn() };
        return echoedLsn(store.ownHistory, store.marks.get(name)?.position) > this.#learnt.lsn ? step : null;
      }
      case 'get-ready':
        return this.#isForgotten(step.since) ? step : null;
      case 'finish':
        return store.holds.has(LATE_ID) ? step : null;
      case 'wait':
      case 'stop':
      case 'conclude':
        return null;
      case 'join':
      case 'tell':
        break;
    }
    return step;
  }

  get #nextStep(): TransferStep {
    const said = [...this.#region.database.table(SAID).slots.values()].map(({ tuple }) => tuple);
    if (said.length !== this.#said.length || said.some((tuple, place) => tuple !== this.#said[place])) {
      this.#said = said;
      this.#step = nextStep(this.#region.name, this.#world.regions, wordsOn(this.#region.database));
    }
    return this.#step;
  }

  #isVoid(step: TransferStep): boolean {
    const { database, store, name } = this.#region;
    const own = wordsOn(database).find(({ region }) => region === name);
    if (own === undefined || step.kind === 'join') return false;
    return isVoid(own, store.holds.get(LATE_ID) ?? null, store.ownHistory.epoch);
  }

  #ownWord(): TransferWord {
    const own = wordsOn(this.#region.database).find(({ region }) => region === this.#region.name);
    if (own === undefined) throw new Error('a region that goes on has said something');
    return own;
  }

  async #carryOut(step: TransferStep, session: ModelSession): Promise<void> {
    const { name: region, database, store } = this.#region;
    if (this.#isVoid(step)) {
      await say(session, { region, generation: this.#ownWord().generation + 1, state: 'published', sealed_at: null });
      return;
    }
    switch (step.kind) {
      case 'join':
        await say(session, { region, generation: step.generation, state: 'published', sealed_at: null });
        return;
      case 'seal': {
        // Whatever is not sealed is written after the table was published everywhere.
        const highest = [database.now(), database.now()].map(hlcFromMicros);
        highest.push(this.#ledger.newest.max_hlc, this.#stability.highestAt(region, store.marks.get(region)?.position));
        const sealed_at = highest.reduce((a, b) => (a > b ? a : b)) + WINDOW;
        store.holds.set(LATE_ID, { above: 0n, generation: this.#ownWord().generation, epoch: store.ownHistory.epoch });
        store.transfer = { sealed: database.visibleIds(), told: '' };
        await say(session, { ...this.#ownWord(), state: 'sealed', sealed_at });
        return;
      }
      case 'get-ready':
        await say(session, { ...this.#ownWord(), state: 'ready' });
        return;
      case 'tell':
        return await this.#tell(session, step.since);
      case 'finish':
        store.holds.delete(LATE_ID);
        return;
      case 'wait':
      case 'stop':
      case 'conclude':
    }
  }

  /** Whether all that was applied up to then is stable, and what was kept of it is forgotten. */
  #isForgotten(since: bigint): boolean {
    const { store } = this.#region;
    const hold = store.holds.get(LATE_ID);
    if (hold === undefined || this.#apply.stable < since) return false;
    store.holds.set(LATE_ID, { ...hold, above: since });
    const isLate = (row: string): boolean => row.startsWith(`${LATE_ID} `);
    const versions = [...store.versions.values()].some(
      ({ stampMicros, byRow }) => hlcFromMicros(stampMicros) <= since && [...byRow.keys()].some(isLate),
    );
    const tombstones = [...store.tombstones].some(([row, { hlc }]) => hlc <= since && isLate(row));
    const looks = [...store.looks.values()].some(({ table }) => table.table === LATE);
    return !versions && !tombstones && !looks;
  }

  async #tell(session: ModelSession, since: bigint): Promise<void> {
    const { name, database, store } = this.#region;
    const { told } = store.transfer;
    const keys = [...database.table(LATE).slots.values()]
      .filter(({ key, tuple }) => key > told && tuple !== null)
      .map(({ key }) => key)
      .sort()
      .slice(0, 1 + this.#world.random.below(ROWS_PER_CHUNK_MAX));
    for (const key of keys) await session.tellRow(LATE, key, since, (tuple) => this.#claim(name, key, tuple, since));
    const last = keys.at(-1);
    if (last === undefined) await say(session, { ...this.#ownWord(), state: 'done' });
    else
      session.willCommit(() => {
        const { transfer } = store;
        store.transfer = { ...transfer, told: last };
        return () => {
          store.transfer = transfer;
        };
      });
  }

  #claim(self: string, key: string, { xid, writer: transaction }: ModelTuple, since: bigint): RowClaim {
    const { store } = this.#region;
    const { stampMicros, ...written } = store.written(transaction, self);
    const exact = store.versions.get(xid)?.byRow.get(rowName({ id: LATE_ID }, JSON.stringify([key])));
    return claimOf(
      { self, members: this.#world.regions },
      {
        ...written,
        stamp: stampMicros === null ? null : hlcFromMicros(stampMicros),
        exact: exact?.hlc ?? null,
        isSealed: store.transfer.sealed.has(transaction.xid),
      },
      since,
    );
  }
}

async function say(session: ModelSession, word: TransferWord): Promise<void> {
  const v = JSON.stringify({ ...word, sealed_at: word.sealed_at === null ? null : hlcToText(word.sealed_at) });
  const row = { id: word.region, v };
  if ((await session.update(SAID, word.region, () => row)) === 0) await session.insert(SAID, word.region, row);
}

/** Asked for at each step of every schedule; a tuple never changes. */
const PARSED = new WeakMap<ModelTuple, TransferWord>();

function parse(tuple: ModelTuple): TransferWord {
  const known = PARSED.get(tuple);
  if (known !== undefined) return known;
  const said = JSON.parse(tuple.image.v ?? '') as Omit<TransferWord, 'sealed_at'> & { sealed_at: string | null };
  const word = { ...said, sealed_at: said.sealed_at === null ? null : hlcFromText(said.sealed_at) };
  PARSED.set(tuple, word);
  return word;
}
