/**
 * Keeps the sequences of replicated tables in this region's share, where the configuration asks for it.
 *
 * It looks when tables are published and once a minute, and changes only what is out of line, so it may run at any
 * moment and any number of times. What a sequence was before is noted in the same transaction, so that `uninstall` can
 * tell. The lock is waited for briefly, since everybody who inserts waits behind it; the highest number in a table,
 * which may take a scan, is read before it. A scan that takes long is broken off, so that the sequences behind it have their
 * turn, and has more time at the next look.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorCode, isInfrastructure, sqlStateOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import { type FillingSequence, highestOf, readFillingSequences } from './filling-sequences.ts';
import { alignment, type Interleave, isAligned, unfitness } from './interleave.ts';

const PERIOD_MS = 60_000;
/** After something could not be done yet, and then twice as long each time: everybody who inserts waits with it. */
const AGAIN_MS = 2_000;
const LOCK_TIMEOUT_MS = 300;
const LOCK_NOT_AVAILABLE = '55P03';
const QUERY_CANCELED = '57014';
/** What the highest number in a table may take at the first look, and how much more at each that follows. */
const SCAN_MS = 6_000;
const SCAN_GROWTH = 10;
/** Hours would keep vacuum from its work everywhere. */
const SCAN_MS_MAX = 3_600_000;

type Problem = { readonly code: ErrorCode; readonly detail: string; readonly table?: string };

export type SequenceKeeperOptions = {
  readonly url: string;
  readonly applicationName: string;
  readonly interleave: Interleave;
  readonly logger: Logger;
  readonly scanMs?: number;
};

export class SequenceKeeper {
  readonly #options: SequenceKeeperOptions;
  #tables: ReadonlySet<number> = new Set();
  #problems: readonly Problem[] = [];
  /** By sequence, how long the scan may take that was broken off last. */
  readonly #scanMs = new Map<number, number>();
  #wake = Promise.withResolvers<void>();

  constructor(options: SequenceKeeperOptions) {
    this.#options = options;
  }

  /** Sequences that hand out numbers of other regions, and why that could not be mended. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Tells the oids of the tables that are published; looks at once where there are new ones. */
  publish(tables: ReadonlySet<number>): void {
    const isNew = [...tables].some((oid) => !this.#tables.has(oid));
    this.#tables = tables;
    if (isNew) this.#wake.resolve();
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const woken = this.#wake.promise;
      try {
        await this.#look();
        failures = this.#problems.length > 0 ? failures + 1 : 0;
      } catch (error) {
        if (!isInfrastructure(error)) this.#options.logger.warn({ err: error }, 'sequences could not be looked at');
        failures += 1;
      }
      const pauseMs = failures === 0 ? PERIOD_MS : Math.min(PERIOD_MS, AGAIN_MS * 2 ** (failures - 1));
      const rest = new AbortController();
      const limit = AbortSignal.any([signal, rest.signal]);
      await Promise.race([woken, delay(pauseMs, undefined, { signal: limit }).catch(() => undefined)]);
      rest.abort();
      this.#wake = Promise.withResolvers();
    }
  }

  async #look(): Promise<void> {
    const { url, applicationName, interleave, logger } = this.#options;
    if (this.#tables.size === 0) return;
    await using client = await connect(url, {
      applicationName,
      lockTimeoutMs: LOCK_TIMEOUT_MS,
      statementTimeoutMs: SCAN_MS_MAX,
    });
    const problems: Problem[] = [];
    for (const sequence of await readFillingSequences(client, [...this.#tables])) {
      if (isAligned(sequence, interleave)) continue;
      const why = unfitness(sequence, interleave) ?? (await this.#align(client, sequence));
      if (why === null)
        logger.info({ sequence: sequence.name, ...interleave }, 'the sequence has its share of numbers');
      else problems.push(problemOf(sequence, why));
    }
    this.#problems = problems;
  }

  /** Null once it is done; else why it is not. */
  async #align(client: PostgresClient, sequence: FillingSequence): Promise<string | null> {
    const { interleave, scanMs: firstMs = SCAN_MS } = this.#options;
    const scanMs = this.#scanMs.get(sequence.oid) ?? firstMs;
    try {
      const highest = await readHighest(client, sequence, scanMs);
      this.#scanMs.delete(sequence.oid);
      await client.transaction(async () => {
        await client.query(NOTE_SQL, [String(sequence.oid)]);
        for (const sql of alignment(sequence, interleave, [highest])) await client.query(sql);
      });
      return null;
    } catch (error) {
      const state = sqlStateOf(error);
      if (state === QUERY_CANCELED) {
        const nextMs = Math.min(SCAN_MS_MAX, SCAN_GROWTH * scanMs);
        this.#scanMs.set(sequence.oid, nextMs);
        return `the highest number in its tables was not found in ${scanMs} ms; the next look takes up to ${nextMs} ms`;
      }
      if (isInfrastructure(error) && state !== LOCK_NOT_AVAILABLE) throw error;
      return error instanceof Error ? error.message : String(error);
    }
  }
}

/** What the sequence was before is kept once, whatever shares it has later. */
const NOTE_SQL = `
insert into syncline.meta (key, value)
select 'sequence_before:' || seqrelid, json_build_object('increment', seqincrement, 'start', seqstart, 'minimum', seqmin)
  from pg_sequence where seqrelid = $1::oid
    on conflict (key) do nothing`;

/** The highest number that the sequence's tables hold, at the time of the statement. */
async function readHighest(client: PostgresClient, sequence: FillingSequence, scanMs: number): Promise<string> {
  return await client.transaction(async () => {
    await client.query(`set local statement_timeout = ${scanMs}`);
    const { rows } = await client.query(
      `select greatest(${[...highestOf(sequence), '0'].join(', ')})::text as highest`,
    );
    return rows[0]?.highest ?? '0';
  });
}

function problemOf({ name, columns }: FillingSequence, why: string): Problem {
  const table = columns[0]?.table;
  const detail = `the sequence ${name} hands out numbers of other regions: ${why}`;
  return { code: 'SYN-P047', detail, ...(table === undefined ? {} : { table }) };
}
