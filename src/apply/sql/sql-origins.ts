/**
 * Replication origins: how a tuple tells which region's events wrote it.
 *
 * Each region whose events are applied here has an origin named `syncline_<database oid>_<region>`; origins belong to
 * the whole cluster, so the name carries the database. A tuple without an origin, or with one of another tool, is a
 * local write. An origin is never dropped while its tuples exist: PostgreSQL would give its number to the next one.
 *
 * A lane that is to do without them signs each of its transactions in `syncline.author` (`sql-tuple-facts.ts`). Tuples of both
 * kinds may be there, where a server got or lost the functions; so signatures are asked for as long as there are any. An origin is in
 * use by one session at a time, so that two lanes cannot write at once; for lanes of either kind, an advisory lock sees to that.
 */

import { microsToIso } from '../../change/change-event.ts';
import { type Hlc, hlcMicros } from '../../change/hlc.ts';
import { fail, sqlStateOf } from '../../platform/errors.ts';
import { originPrefix } from '../../platform/own-origins.ts';
import { arrayText, type PostgresClient, quoteLiteral, type TextValue } from '../../platform/postgres.ts';
import type { Guard, Tuple } from '../apply-port.ts';
import { HAS_AUTHORS, PRUNE_AUTHORS, SAY_SIGNED } from './sql-bookkeeping.ts';
import { writeAlone } from './sql-pipeline.ts';
import { AUTHOR_LABEL, FACTS_OF_AUTHORS, FACTS_OF_ORIGINS, NO_ORIGIN, type TupleFacts } from './sql-tuple-facts.ts';

/** Any number that no other tool takes: the letters of SYNLANE as ASCII, behind a zero. */
const LANE_LOCK = '23460615888653893';

/** How much longer than a long look at signatures is the rest behind it. */
const REST_SHARE = 20;
const LONG_LOOK_MS = 50;

/** The highest stamp (Unix µs) that a guard admits of a writer; null for none. */
type Limit = bigint | 'always' | null;

export class SqlOrigins {
  readonly #client: PostgresClient;
  readonly #region: string;
  readonly #prefix: string;
  readonly #regionOf = new Map<string, string>();
  readonly #names = new Set<string>();
  /** Whether the lane signs, and writes under no origin. */
  readonly #signs: boolean;
  #current: string | null = null;
  #hasLock = false;
  #nextLookMs = 0;
  #facts: TupleFacts = FACTS_OF_ORIGINS;

  constructor(client: PostgresClient, region: string, databaseOid: string, signs: boolean) {
    this.#client = client;
    this.#region = region;
    this.#prefix = originPrefix(databaseOid);
    this.#signs = signs;
  }

  /** How tuples tell of their writers here. */
  get facts(): TupleFacts {
    return this.#facts;
  }

  get #hasSignatures(): boolean {
    return this.#facts === FACTS_OF_AUTHORS;
  }

  /** `values` are those of `PRUNE_AUTHORS`. What has to stay is looked at each time, so a look that is long is followed by a longer rest. */
  async forgetSignatures(values: TextValue[]): Promise<void> {
    const startedMs = performance.now();
    if (!this.#hasSignatures || startedMs < this.#nextLookMs) return;
    await writeAlone(this.#client, PRUNE_AUTHORS, values);
    await this.#lookForSignatures();
    const endedMs = performance.now();
    const tookMs = endedMs - startedMs;
    this.#nextLookMs = tookMs > LONG_LOOK_MS ? endedMs + REST_SHARE * tookMs : 0;
  }

  /** Where none is left and none is to come, nobody asks for them any more. */
  async #lookForSignatures(): Promise<void> {
    const { rows } = this.#signs ? { rows: [] } : await this.#client.query(HAS_AUTHORS, [], { prepare: true });
    this.#facts = this.#signs || rows[0]?.found === 't' ? FACTS_OF_AUTHORS : FACTS_OF_ORIGINS;
  }

  /** Reads which origins of ours exist, and whether there are signatures. */
  async load(): Promise<void> {
    await this.#lookForSignatures();
    if (this.#signs) await writeAlone(this.#client, SAY_SIGNED, []);
    const { rows } = await this.#client.queryArrays(
      'select roident, roname from pg_replication_origin where starts_with(roname, $1)',
      [this.#prefix],
    );
    for (const [number, name] of rows) {
      if (typeof number !== 'string' || typeof name !== 'string') continue;
      this.#regionOf.set(number, name.slice(this.#prefix.length));
      this.#names.add(name);
    }
  }

  /** Makes the session write under the origin of this region; outside of a transaction. */
  async use(region: string): Promise<void> {
    if (!this.#signs && this.#current !== region) await this.#setUp(region);
    if (!this.#hasLock) await this.#lock();
  }

  async #setUp(region: string): Promise<void> {
    const name = this.#prefix + region;
    try {
      if (!this.#names.has(name)) await this.#create(name);
      const reset = this.#current === null ? '' : 'select pg_replication_origin_session_reset(); ';
      this.#current = null;
      await this.#client.query(`${reset}select pg_replication_origin_session_setup(${quoteLiteral(name)})`);
      this.#current = region;
    } catch (cause) {
      throw originError(name, cause);
    }
  }

  /** What a transaction that applies the events of a region begins with. */
  opening(region: string, stampMicros: bigint): string {
    const stamp = quoteLiteral(microsToIso(stampMicros));
    return this.#signs
      ? `select syncline.sign(${quoteLiteral(region)}, ${stamp})`
      : `select pg_replication_origin_xact_setup('0/1', ${stamp})`;
  }

  /** The region whose events a tuple of this writer holds, and whether it is a local write instead, of whom. */
  writerOf(writer: string | null): Pick<Tuple, 'writer' | 'local' | 'foreign'> {
    const region = writer?.startsWith(AUTHOR_LABEL)
      ? writer.slice(AUTHOR_LABEL.length)
      : this.#regionOf.get(writer ?? NO_ORIGIN);
    if (region !== undefined) return { writer: region, local: false, foreign: false };
    return { writer: this.#region, local: true, foreign: writer !== null && writer !== NO_ORIGIN };
  }

  /** The three parameters of a guard for events of which `leastHlc` is the lowest stamp. */
  guard(guard: Guard, leastHlc: Hlc): TextValue[] {
    // A stamp S covers versions up to S without a counter, so "below the event" means at most this.
    const below = hlcMicros(leastHlc - 1n);
    const authors = this.#hasSignatures ? Object.keys(guard).map((region) => `${AUTHOR_LABEL}${region}`) : [];
    const writers = [NO_ORIGIN, ...this.#regionOf.keys(), ...authors];
    const limits = writers.map((writer): Limit => {
      const rule = guard[this.writerOf(writer).writer];
      if (rule === undefined || rule === 'never') return null;
      return rule === 'always' || rule < below ? rule : below;
    });
    // Anybody may have signed, also who has no rule.
    const least = this.#hasSignatures ? null : lowest(limits);
    return [timestampText(least), arrayText(writers), arrayText(limits.map(timestampText))];
  }

  /** The parameter that tells local tuples above an event from all others. */
  laterLocal(hlc: Hlc): TextValue[] {
    return [timestampText(hlcMicros(hlc))];
  }

  async #lock(): Promise<void> {
    const { rows } = await this.#client.query('select pg_try_advisory_lock($1::bigint) as is_free', [LANE_LOCK]);
    if (rows[0]?.is_free !== 't') throw fail('SYN-K004', `another session applies to the database of ${this.#region}`);
    this.#hasLock = true;
  }

  async #create(name: string): Promise<void> {
    try {
      await this.#client.query('select pg_replication_origin_create($1)', [name]);
    } catch (error) {
      if (sqlStateOf(error) !== '23505' && sqlStateOf(error) !== '42710') throw error;
    }
    await this.load();
  }
}

/** What no limit is below: a tuple not above it is admitted whoever wrote it. */
function lowest(limits: readonly Limit[]): Limit {
  let least: Limit = 'always';
  for (const limit of limits) {
    if (limit === null) return null;
    if (limit !== 'always' && (least === 'always' || limit < least)) least = limit;
  }
  return least;
}

/** A timestamp for PostgreSQL; what lies before 1970 is below every stamp anyway. */
function timestampText(limit: Limit): TextValue {
  if (limit === null) return null;
  if (limit === 'always') return 'infinity';
  return limit < 0n ? '-infinity' : microsToIso(limit);
}

const ORIGIN_ERRORS: Readonly<Record<string, 'SYN-K004' | 'SYN-P003' | 'SYN-P006'>> = {
  '55006': 'SYN-K004',
  '53400': 'SYN-P003',
  '42501': 'SYN-P006',
};

function originError(name: string, cause: unknown): unknown {
  const code = ORIGIN_ERRORS[sqlStateOf(cause) ?? ''];
  if (code === undefined) return cause;
  return fail(code, `replication origin ${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
}
