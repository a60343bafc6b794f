/**
 * Keeps the sequences of replicated tables in this region's share, where the configuration asks for it.
 *
 * It looks when tables are published and once a minute, and changes only what is out of line, so it may run at any
 * moment and any number of times. What a sequence was before is noted in the same transaction, so that `uninstall` can
 * tell. The lock is waited for briefly, since everybody who inserts waits behind it; the highest number in a table,
 * which may take a scan, is read before it.
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

type Problem = { readonly code: ErrorCode; readonly detail: string; readonly table?: string };

export type SequenceKeeperOptions = {
  readonly url: string;
  readonly applicationName: string;
  readonly interleave: Interleave;
  readonly logger: Logger;
};

export class SequenceKeeper {
  readonly #options: SequenceKeeperOptions;
  #tables: ReadonlySet<number> = new Set();
  #problems: readonly Problem[] = [];
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
    await using client = await connect(url, { applicationName, lockTimeoutMs: LOCK_TIMEOUT_MS });
    const problems: Problem[] = [];
    for (const sequence of await readFillingSequences(client, [...this.#tables])) {
      if (isAligned(sequence, interleave)) continue;
      const why = unfitness(sequence, interleave) ?? (await align(client, sequence, interleave));
      if (why === null)
        logger.info({ sequence: sequence.name, ...interleave }, 'the sequence has its share of numbers');
      else problems.push(problemOf(sequence, why));
    }
    this.#problems = problems;
  }
}

/** What the sequence was before is kept once, whatever shares it has later. */
const NOTE_SQL = `
insert into syncline.meta (key, value)
select 'sequence_before:' || seqrelid, json_build_object('increment', seqincrement, 'start', seqstart, 'minimum', seqmin)
  from pg_sequence where seqrelid = $1::oid
    on conflict (key) do nothing`;

/** Null once it is done; else why it is not. */
async function align(
  client: PostgresClient,
  sequence: FillingSequence,
  interleave: Interleave,
): Promise<string | null> {
  try {
    const { rows } = await client.query(
      `select greatest(${[...highestOf(sequence), '0'].join(', ')})::text as highest`,
    );
    await client.transaction(async () => {
      await client.query(NOTE_SQL, [String(sequence.oid)]);
      for (const sql of alignment(sequence, interleave, [rows[0]?.highest ?? '0'])) await client.query(sql);
    });
    return null;
  } catch (error) {
    if (isInfrastructure(error) && sqlStateOf(error) !== LOCK_NOT_AVAILABLE) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

function problemOf({ name, columns }: FillingSequence, why: string): Problem {
  const table = columns[0]?.table;
  const detail = `the sequence ${name} hands out numbers of other regions: ${why}`;
  return { code: 'SYN-P047', detail, ...(table === undefined ? {} : { table }) };
}
