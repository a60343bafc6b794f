/**
 * Replication origins: how a tuple tells which region's events wrote it.
 *
 * Each region whose events are applied here has an origin named `syncline_<database oid>_<region>`; origins belong to
 * the whole cluster, so the name carries the database. A tuple without an origin, or with one of another tool, is a
 * local write. An origin is never dropped while its tuples exist: PostgreSQL would give its number to the next one.
 */

import { microsToIso } from '../change/change-event.ts';
import { type Hlc, hlcMicros } from '../change/hlc.ts';
import { fail, sqlStateOf } from '../platform/errors.ts';
import { originPrefix } from '../platform/own-origins.ts';
import { arrayText, type PostgresClient, quoteLiteral, type TextValue } from '../platform/postgres.ts';
import type { Guard, Tuple } from './apply-port.ts';

/** The number that stands for no origin. */
const NO_ORIGIN = '0';

/** The highest stamp (Unix µs) that a guard admits of a writer; null for none. */
type Limit = bigint | 'always' | null;

export class SqlOrigins {
  readonly #client: PostgresClient;
  readonly #region: string;
  readonly #prefix: string;
  readonly #regionOf = new Map<string, string>();
  readonly #names = new Set<string>();
  #current: string | null = null;

  constructor(client: PostgresClient, region: string, databaseOid: string) {
    this.#client = client;
    this.#region = region;
    this.#prefix = originPrefix(databaseOid);
  }

  /** Reads which origins of ours exist. */
  async load(): Promise<void> {
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
    if (this.#current === region) return;
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

  /** The region whose events a tuple with this origin holds, and whether it is a local write instead, of whom. */
  writerOf(origin: string | null): Pick<Tuple, 'writer' | 'local' | 'foreign'> {
    const region = origin === null ? undefined : this.#regionOf.get(origin);
    if (region !== undefined) return { writer: region, local: false, foreign: false };
    return { writer: this.#region, local: true, foreign: origin !== null && origin !== NO_ORIGIN };
  }

  /** The three parameters of a guard for events of which `leastHlc` is the lowest stamp. */
  guard(guard: Guard, leastHlc: Hlc): TextValue[] {
    // A stamp S covers versions up to S without a counter, so "below the event" means at most this.
    const below = hlcMicros(leastHlc - 1n);
    const origins = [NO_ORIGIN, ...this.#regionOf.keys()];
    const limits = origins.map((origin): Limit => {
      const rule = guard[this.writerOf(origin).writer];
      if (rule === undefined || rule === 'never') return null;
      return rule === 'always' || rule < below ? rule : below;
    });
    return [timestampText(lowest(limits)), arrayText(origins), arrayText(limits.map(timestampText))];
  }

  /** The parameter that tells local tuples above an event from all others. */
  laterLocal(hlc: Hlc): TextValue[] {
    return [timestampText(hlcMicros(hlc))];
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
