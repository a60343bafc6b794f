/**
 * Does this region's part for tables that are published after replication has begun: says how far it is, and tells the rows
 * that it holds, in chunks, while everybody goes on writing.
 *
 * What is next follows from what all regions have said (`transfer-steps.ts`); nothing is remembered between two looks but the
 * moment when all were heard, so an agent that is killed anywhere goes on where the rows stand. Nothing is said before
 * every member's agent is known to understand it: an older one would take a row that is told for a new write.
 *
 * A region that came back as an older copy of itself lacks what it had kept for what it had said, or what was written since: it
 * begins a new generation.
 *
 * Each table has its turn whatever becomes of the others: one that fails rests, and is told if that lasts (`failed-turns.ts`).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Hlc } from '../change/hlc.ts';
import { WINDOW } from '../clock/stamper.ts';
import { type ErrorCode, isInfrastructure, SynclineError, sqlStateOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { FailedTurns } from './failed-turns.ts';
import { tellRows } from './row-teller.ts';
import { isVoid, nextStep, type TransferHold, type TransferStep } from './transfer-steps.ts';
import {
  estimateRows,
  isForgotten,
  join,
  letGo,
  type Moment,
  moveOn,
  readEpoch,
  readHolds,
  readMoment,
  readTableState,
  readWords,
  refuse,
  relOf,
  seal,
  sendAgain,
  type TableWord,
} from './transfer-store.ts';

const PERIOD_MS = 1_000;
/** While a transfer is under way. */
const UNDER_WAY_MS = 100;
/** The first chunk of a table tells what its rows are like. */
const CHUNK_ROWS_FIRST = 100;
/** Locked for some tens of milliseconds. */
const CHUNK_ROWS_MAX = 2_000;
/** How long one table is told before the others are looked at. */
const TURN_MS = 2_000;
const ESTIMATE_LOCK_MS = 1_000;
/** A lock that was not to be had: somebody else is at work on the rows, or was the first to wait. */
const YIELDING_STATES = new Set(['55P03', '40P01', '57014']);

export type TransferKeeperOptions = {
  readonly region: string;
  readonly members: readonly string[];
  readonly url: string;
  readonly applicationName: string;
  readonly database: Queryable;
  readonly publication: string;
  readonly isIncluded: (schema: string, table: string) => boolean;
  /** Whether what is written now reaches the others. */
  readonly isCaptured: () => boolean;
  /** Everything up to it is applied everywhere, and echoed here. */
  readonly stable: () => Hlc;
  /** The highest stamp that is known here. */
  readonly highest: () => Hlc;
  /** How far in this database's WAL its own stream has come back; null while nobody knows. */
  readonly echoedLsn: () => bigint | null;
  readonly logger: Logger;
};

type Problem = { readonly code: ErrorCode; readonly detail: string; readonly table?: string };

/** What is told of a table by one region. */
export type TransferProgress = {
  readonly table: string;
  readonly region: string;
  readonly state: TableWord['state'];
  readonly rows_told: number;
  readonly rows_total: number | null;
  readonly percent: number;
};

export class TransferKeeper {
  readonly #options: TransferKeeperOptions;
  readonly #knowing: Set<string>;
  #hasSaidAgain = false;
  #client: PostgresClient | null = null;
  readonly #failed = new FailedTurns();
  /** By table, how many rows the next chunk takes. */
  readonly #chunkRows = new Map<string, number>();
  /** By table, when all were heard to have published it, and of which generation and epoch that was. */
  readonly #learnt = new Map<string, TransferHold & Moment>();
  #problems: readonly Problem[] = [];
  #progress: readonly TransferProgress[] = [];

  constructor(options: TransferKeeperOptions) {
    this.#options = options;
    this.#knowing = new Set([options.region]);
  }

  get problems(): readonly Problem[] {
    return [...this.#problems, ...this.#failed.lasting];
  }

  /** Of tables that are not done with. */
  get progress(): readonly TransferProgress[] {
    return this.#progress;
  }

  /** A heartbeat of that region says that its agent understands rows that are told. */
  heard(region: string): void {
    this.#knowing.add(region);
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { isCaptured, logger } = this.#options;
    while (!signal.aborted) {
      let restMs = PERIOD_MS;
      try {
        if (isCaptured()) restMs = await this.#look(signal);
      } catch (error) {
        await this.#close();
        // Apply and capture tell of a database that is away; the transfer goes on where it stands.
        if (!isInfrastructure(error))
          logger.warn({ err: error }, 'tables that are published late could not be looked at');
      }
      await delay(restMs, undefined, { signal }).catch(() => undefined);
    }
    await this.#close();
  }

  async #look(signal: AbortSignal): Promise<number> {
    const { database, region, members, logger } = this.#options;
    const words = await readWords(database);
    const tables = [...Map.groupBy(words, relOf).values()];
    this.#progress = tables.flatMap((said) => progressOf(said, members));
    const deaf = members.filter((member) => !this.#knowing.has(member));
    if (words.length === 0 || deaf.length > 0) return PERIOD_MS;
    if (!this.#hasSaidAgain) await sendAgain(database, region);
    this.#hasSaidAgain = true;
    const holds = await readHolds(database);
    const epoch = await readEpoch(database);
    const problems: Problem[] = [];
    let isUnderWay = false;
    for (const said of tables) {
      if (signal.aborted) return 0;
      const table = nameOf(said);
      if (this.#failed.isResting(table, performance.now())) continue;
      try {
        isUnderWay = (await this.#turn(said, { epoch, holds }, problems, signal)) || isUnderWay;
        this.#failed.passed(table);
      } catch (error) {
        await this.#close();
        if (this.#failed.failed(table, error, performance.now()))
          logger.warn({ err: error, table }, 'rows of the table cannot be told for now');
        if (isOfAll(error)) throw error;
      }
    }
    this.#problems = problems;
    if (!isUnderWay) await this.#close();
    return isUnderWay ? UNDER_WAY_MS : PERIOD_MS;
  }

  /** Whether there is more to be done for the table. */
  async #turn(
    said: readonly TableWord[],
    { epoch, holds }: { readonly epoch: string | null; readonly holds: ReadonlyMap<string, TransferHold> },
    problems: Problem[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { region, members } = this.#options;
    const step = nextStep(region, members, said);
    const [first] = said;
    const own = said.find((word) => word.region === region);
    if (own?.is_former === true && own.state === 'absent' && (await this.#isPublished(own)))
      problems.push(returned(own));
    if (first === undefined || (step.kind === 'finish' && !holds.has(relOf(first)))) return false;
    if (step.kind === 'stop') {
      problems.push(stopped(said, members));
      if (!holds.has(relOf(first))) return false;
    }
    await this.#carryOut(step, said, { epoch, hold: holds.get(relOf(first)) ?? null }, signal);
    return step.kind !== 'stop';
  }

  async #carryOut(
    step: TransferStep,
    said: readonly TableWord[],
    { epoch, hold }: { readonly epoch: string | null; readonly hold: TransferHold | null },
    signal: AbortSignal,
  ): Promise<void> {
    const { database, region, members, stable, logger } = this.#options;
    const own = said.find((word) => word.region === region);
    const [first] = said;
    if (first === undefined) return;
    if (step.kind === 'join') return await this.#join(first, step.generation, own);
    if (own === undefined) return;
    if (own.state !== 'absent' && own.state !== 'refused' && !(await this.#isPublished(own))) {
      return await moveOn(database, own, 'absent', true);
    }
    if (isVoid(own, hold, epoch)) return await join(database, own, own.generation + 1, 'published', null);
    switch (step.kind) {
      case 'seal':
        return await this.#seal(own, epoch);
      case 'get-ready':
        if (stable() >= step.since && (await isForgotten(database, own, step.since)))
          await moveOn(database, own, 'ready');
        return;
      case 'conclude':
        return await moveOn(database, own, 'done');
      case 'tell':
        return await this.#tell(own, step.since, signal);
      case 'finish':
      case 'stop':
        await letGo(database, own);
        if (step.kind === 'finish' && newestOf(said, members).every(({ state }) => state === 'done'))
          logger.info({ table: relOf(own) }, 'all regions hold the rows of the table');
        return;
      case 'wait':
    }
  }

  async #join(table: TableWord, generation: number, own: TableWord | undefined): Promise<void> {
    const { database, region, publication, isIncluded, logger } = this.#options;
    const named = { schema: table.schema, table: table.table, region };
    const { isThere, isPublished, refusal, isRenamed } = await readTableState(database, publication, named);
    // Capture says what becomes of the table, under both names.
    if (isRenamed) return;
    if (isPublished) {
      const reason = own?.is_former === true ? 'it was published before, and left the publication' : refusal;
      await join(database, named, generation, reason === null ? 'published' : 'refused', reason);
      logger.info({ table: relOf(named), generation, refused: reason }, 'another region has published the table');
    } else if (!isThere || !isIncluded(table.schema, table.table)) {
      await join(database, named, generation, 'absent', null);
    }
  }

  async #isPublished(own: TableWord): Promise<boolean> {
    const { database, publication } = this.#options;
    return (await readTableState(database, publication, own)).isPublished;
  }

  /** Seals the table once all that was captured when it was published everywhere has come back, pushed stamps put right. */
  async #seal(own: TableWord, epoch: string | null): Promise<void> {
    const { database, echoedLsn, highest } = this.#options;
    const { generation } = own;
    const known = this.#learnt.get(relOf(own));
    const isKnown = known?.generation === generation && known.epoch === epoch;
    const learnt = isKnown ? known : { generation, epoch, ...(await readMoment(database)) };
    this.#learnt.set(relOf(own), learnt);
    const echoed = echoedLsn();
    if (echoed === null || echoed < learnt.lsn) return;
    await seal(await this.#connection(), own, learnt.xmax, highest(), WINDOW);
  }

  /** Tells rows for a while, then other tables have their turn; rests as long as it worked, for the sake of users. */
  async #tell(own: TableWord, since: Hlc, signal: AbortSignal): Promise<void> {
    const { isCaptured } = this.#options;
    if (own.rows_total === null) await this.#estimate(own);
    const untilMs = performance.now() + TURN_MS;
    let hasTold = false;
    let yielded: unknown = null;
    while (!signal.aborted && isCaptured() && performance.now() < untilMs) {
      const startedMs = performance.now();
      try {
        if (!(await this.#tellChunk(own, since))) return;
        hasTold = true;
      } catch (error) {
        if (!YIELDING_STATES.has(sqlStateOf(error) ?? '')) throw error;
        yielded = error;
      }
      await delay(performance.now() - startedMs, undefined, { signal }).catch(() => undefined);
    }
    if (!hasTold && yielded !== null) throw yielded;
  }

  /** Whether there may be more. */
  async #tellChunk(own: TableWord, since: Hlc): Promise<boolean> {
    const table = relOf(own);
    const rowsMax = this.#chunkRows.get(table) ?? CHUNK_ROWS_FIRST;
    try {
      const told = await tellRows(await this.#connection(), own, this.#options.members, since, rowsMax);
      if (told === null || told.isEnd) this.#chunkRows.delete(table);
      else this.#chunkRows.set(table, Math.min(CHUNK_ROWS_MAX, 2 * told.rows));
      return told !== null && !told.isEnd;
    } catch (error) {
      this.#chunkRows.set(table, Math.max(1, rowsMax >> 1));
      if (!(error instanceof SynclineError) || error.code !== 'SYN-K031') throw error;
      await refuse(this.#options.database, own, error.message);
      return false;
    }
  }

  async #estimate(own: TableWord): Promise<void> {
    const client = await this.#connection();
    await client.transaction(async () => {
      await client.query(`set local lock_timeout = ${ESTIMATE_LOCK_MS}`);
      await estimateRows(client, own);
    });
  }

  async #connection(): Promise<PostgresClient> {
    const { url, applicationName } = this.#options;
    this.#client ??= await connect(url, { applicationName });
    return this.#client;
  }

  async #close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }
}

/** A database that is away is so for all tables. */
function isOfAll(error: unknown): boolean {
  return error instanceof SynclineError && error.class === 'infrastructure';
}

function nameOf([first]: readonly TableWord[]): string {
  return `${first?.schema}.${first?.table}`;
}

/** What members say in the newest generation; others have no say any more. */
function newestOf(said: readonly TableWord[], members: readonly string[]): TableWord[] {
  const words = said.filter(({ region }) => members.includes(region));
  const generation = Math.max(...words.map((word) => word.generation));
  return words.filter((word) => word.generation === generation);
}

function stopped(said: readonly TableWord[], members: readonly string[]): Problem {
  const table = nameOf(said);
  const refused = newestOf(said, members).filter(({ state }) => state === 'refused');
  const why = refused.map(({ region, reason }) => `${region}: ${reason}`).join('; ');
  return { code: 'SYN-K031', detail: `rows of ${table} from before it was published are not sent: ${why}`, table };
}

/** A table that is published once more, or was made anew. */
function returned({ schema, table, region }: TableWord): Problem {
  const name = `${schema}.${table}`;
  const detail = `${name} was published in ${region} before, and left: what other regions hold of it is not sent to ${region}`;
  return { code: 'SYN-K031', detail, table: name };
}

/** Of one table; nothing where all are done. */
function progressOf(said: readonly TableWord[], members: readonly string[]): TransferProgress[] {
  const taking = newestOf(said, members).filter(({ state }) => state !== 'absent');
  if (taking.every(({ state }) => state === 'done')) return [];
  return taking.map(({ schema, table, region, state, rows_told, rows_total }) => ({
    table: `${schema}.${table}`,
    region,
    state,
    rows_told,
    rows_total,
    percent:
      state === 'done'
        ? 100
        : rows_total === null || rows_total === 0
          ? 0
          : Math.min(100, (100 * rows_told) / rows_total),
  }));
}
