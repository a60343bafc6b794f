/**
 * Finds rows whose parent was removed, and writes them into the conflict log.
 *
 * The id of a record derives from the foreign key, the row and the removal, and what it says from these alone, so every
 * region writes the same one, and again and again the same. There is one look per foreign key for many removals, over
 * a connection of its own; whatever takes too long is given up and told, because the lane waits for it. A lock is waited for by
 * looking again: for a moment each time, and for a minute in all, since no conflict becomes final meanwhile.
 */
import { hash } from 'node:crypto';
import type { Image } from '../../change/change-event.ts';
import { hlcToText } from '../../change/hlc.ts';
import { type ErrorCode, isInfrastructure, sqlStateOf } from '../../platform/errors.ts';
import { type ForeignKey, isNamed, namesNoRow, ofChild, readForeignKeys } from '../../platform/foreign-keys.ts';
import { type PostgresClient, quoteIdent, type TextValue } from '../../platform/postgres.ts';
import { Redaction } from '../redaction.ts';
import type { OrphanLook, ReferencedColumns, RemovedParent } from './removed-parents.ts';

/** Of one foreign key, at one look. */
const ORPHANS_MAX = 10_000;
const LOOK_MS_MAX = 1_000;
/** After a look that took too long. */
const REST_MS = 600_000;
const CATALOG_AGE_MS_MAX = 10_000;
const LOCK_MS_MAX = 50;
const LOCK_PERIOD_MS = 1_000;
const LOCK_PATIENCE_MS = 60_000;
const QUERY_CANCELED = '57014';
const LOCK_NOT_AVAILABLE = '55P03';

/** Why orphans of a table are not all found. */
export type OrphansMissed = { readonly code: ErrorCode; readonly detail: string; readonly table?: string };

export type OrphanFinderOptions = {
  readonly client: PostgresClient;
  /** Columns whose values the records withhold. */
  readonly redact?: readonly string[];
  readonly isReplicated: (schema: string, table: string) => boolean;
  /** So many rows of that table were found, and were not on record before. */
  readonly onFound: (table: string, count: number) => void;
  /** The orphans of a foreign key are not all found; null once it is looked at again. */
  readonly onMissed: (foreignKey: string, missed: OrphansMissed | null) => void;
  readonly nowMs?: () => number;
  /** How long a look at one foreign key may take. */
  readonly lookMsMax?: number;
};

const RECORD_ORPHANS = `
insert into syncline.conflict_log (conflict_id, event_id_b, winner_event_id, schema_name, table_name, row_pk,
  resolution_strategy, loser_hlc, loser_origin, winner_hlc, winner_origin, image_a, provisional, constraint_name, parent_table, redacted)
select o.conflict_id, o.event_id, o.event_id, $2, $3, o.row_pk, 'orphan', o.hlc, o.origin, o.hlc, o.origin, o.image, false, $4, $5, o.redacted
from json_to_recordset($1::json) as o(conflict_id uuid, event_id uuid, row_pk jsonb, hlc bigint, origin text, image jsonb,
  redacted text[])
on conflict (conflict_id) do nothing`;

export class OrphanFinder implements OrphanLook {
  readonly #options: OrphanFinderOptions;
  readonly #nowMs: () => number;
  readonly #redaction: Redaction;
  #keys: readonly ForeignKey[] = [];
  #referenced: ReferencedColumns = new Map();
  #readAtMs = Number.NEGATIVE_INFINITY;
  #givenUp = 0;
  readonly #restsUntilMs = new Map<string, number>();
  /** Foreign keys whose table somebody has locked. */
  readonly #locked = new Map<string, { readonly sinceMs: number; readonly nextMs: number; readonly error: unknown }>();

  constructor(options: OrphanFinderOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#redaction = new Redaction(options.redact ?? []);
  }

  async referenced(): Promise<ReferencedColumns> {
    const now = this.#nowMs();
    if (now - this.#readAtMs < CATALOG_AGE_MS_MAX) return this.#referenced;
    const keys = await readForeignKeys(this.#options.client);
    this.#keys = keys.filter(({ schema, table }) => this.#options.isReplicated(schema, table));
    const referenced = new Map<string, Set<string>>();
    for (const key of this.#keys) {
      const columns = referenced.get(parentOf(key)) ?? new Set();
      for (const { parent } of key.columns) columns.add(parent);
      referenced.set(parentOf(key), columns);
    }
    this.#referenced = referenced;
    this.#readAtMs = now;
    return referenced;
  }

  /** Throws what a lock made fail (SQLSTATE 55P03), to be called again with the same removals. */
  async look(removed: readonly RemovedParent[]): Promise<void> {
    const looks = this.#keys
      .map((key) => ({ key, parents: removed.filter(({ table }) => table === parentOf(key)) }))
      .filter(({ parents }) => parents.length > 0);
    // Before any of them is made, because all are made again.
    for (const { key } of looks) {
      const locked = this.#locked.get(idOf(key));
      if (locked !== undefined && this.#nowMs() < locked.nextMs) throw locked.error;
    }
    for (const { key, parents } of looks) await this.#lookAt(key, parents);
  }

  giveUp(count: number | null): void {
    if (this.#keys.length === 0) return;
    this.#givenUp += count ?? 0;
    const detail =
      count === null
        ? 'what was removed before the agent started could not all be read back from the log'
        : `${this.#givenUp} removals were too many to keep until all regions had them`;
    this.#options.onMissed(count === null ? 'read back' : 'removals', { code: 'SYN-A035', detail });
  }

  async #lookAt(key: ForeignKey, removed: readonly RemovedParent[]): Promise<void> {
    const id = idOf(key);
    if (this.#nowMs() < (this.#restsUntilMs.get(id) ?? 0)) return;
    try {
      const isMore = await this.#record(key, removed);
      this.#locked.delete(id);
      if (isMore) this.#miss(key, `more than ${ORPHANS_MAX} rows lost their parent at once`);
      else if (this.#restsUntilMs.delete(id)) this.#options.onMissed(id, null);
    } catch (error) {
      const state = sqlStateOf(error);
      if (state === LOCK_NOT_AVAILABLE && this.#isPatientWith(id, error)) throw error;
      if (isInfrastructure(error) && state !== QUERY_CANCELED && state !== LOCK_NOT_AVAILABLE) throw error;
      this.#locked.delete(id);
      // The definition may have changed since it was read.
      this.#readAtMs = Number.NEGATIVE_INFINITY;
      this.#restsUntilMs.set(id, this.#nowMs() + REST_MS);
      this.#miss(key, `its rows could not be looked at: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #isPatientWith(id: string, error: unknown): boolean {
    const now = this.#nowMs();
    const sinceMs = this.#locked.get(id)?.sinceMs ?? now;
    this.#locked.set(id, { sinceMs, nextMs: now + LOCK_PERIOD_MS, error });
    return now - sinceMs < LOCK_PATIENCE_MS;
  }

  #miss(key: ForeignKey, why: string): void {
    const detail = `${key.name}: ${why}`;
    this.#options.onMissed(idOf(key), { code: 'SYN-A035', detail, table: `${key.schema}.${key.table}` });
  }

  /** Whether there are more than it takes. */
  async #record(key: ForeignKey, removed: readonly RemovedParent[]): Promise<boolean> {
    const { client, onFound, lookMsMax = LOOK_MS_MAX } = this.#options;
    let count = 0;
    let isMore = false;
    await client.transaction(async () => {
      await client.query(`set local statement_timeout = ${lookMsMax}; set local lock_timeout = ${LOCK_MS_MAX}`);
      const emptied = removed.find(({ values }) => values === null);
      const rows: (readonly TextValue[])[] = [];
      const { text, values } = lookStatement(key, removed);
      if (values !== null) rows.push(...(await client.queryArrays(text, [values])).rows);
      if (emptied !== undefined) {
        const { rows: all } = await client.queryArrays(wholeStatement(key, removed.indexOf(emptied)));
        rows.push(...all);
      }
      isMore = rows.length > ORPHANS_MAX;
      const records = rows.slice(0, ORPHANS_MAX).flatMap((row) => recordOf(key, removed, row, this.#redaction));
      if (records.length === 0) return;
      const parent = `${key.parentSchema}.${key.parentTable}`;
      const told = [JSON.stringify(records), key.schema, key.table, key.name, parent];
      count = (await client.query(RECORD_ORPHANS, told)).rowCount;
    });
    if (count > 0) onFound(`${key.schema}.${key.table}`, count);
    return isMore;
  }
}

function lookStatement(
  key: ForeignKey,
  removed: readonly RemovedParent[],
): { readonly text: string; readonly values: string | null } {
  const named = removed.flatMap(({ values }, place) => {
    const parts = key.columns.map(({ parent }) => values?.[parent] ?? null);
    return parts.includes(null) ? [] : [{ place, ...Object.fromEntries(parts.map((part, n) => [`v${n}`, part])) }];
  });
  const columns = key.columns.map((_, n) => `v${n} text`).join(', ');
  const names = key.columns.map((column, n) => isNamed(`v.v${n}::${column.type}`, column)).join(' and ');
  const text = `select v.place::text, ${valuesOf(key)}
       from json_to_recordset($1::json) as v(place int, ${columns})
       join ${childOf(key)} c on ${names}
      where ${namesNoRow(key)} order by v.place limit ${ORPHANS_MAX + 1}`;
  return { text, values: named.length === 0 ? null : JSON.stringify(named) };
}

/** After a TRUNCATE of the parents, at that place. */
function wholeStatement(key: ForeignKey, place: number): string {
  return `select '${place}', ${valuesOf(key)} from ${childOf(key)} c where ${namesNoRow(key)} limit ${ORPHANS_MAX + 1}`;
}

function recordOf(
  key: ForeignKey,
  removed: readonly RemovedParent[],
  row: readonly TextValue[],
  redaction: Redaction,
): object[] {
  const parent = removed[Number(row[0])];
  if (parent === undefined) return [];
  const columns = [...key.key, ...key.columns.map(({ child }) => child)];
  const image: Image = Object.fromEntries(columns.map((name, n) => [name, row[n + 1] ?? null]));
  const row_pk = Object.fromEntries(key.key.map((name) => [name, image[name] ?? null]));
  const { hlc, origin } = parent.version;
  const found = new Set<string>();
  const told = redaction.image(key.schema, key.table, row_pk, image, found);
  return [
    {
      conflict_id: orphanId(key, Object.values(image), parent),
      event_id: parent.event_id,
      row_pk,
      hlc: String(hlc),
      origin,
      image: told,
      redacted: [...found].sort(),
    },
  ];
}

function orphanId(key: ForeignKey, values: readonly TextValue[], { version }: RemovedParent): string {
  const told = JSON.stringify(['orphan', idOf(key), ...values, hlcToText(version.hlc), version.origin]);
  const digest = hash('sha256', told, 'hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

/** The child's key and what it names: all that a record says of it, since other columns may differ for a while. */
function valuesOf(key: ForeignKey): string {
  return [...key.key, ...key.columns.map(({ child }) => child)].map((name) => `${ofChild(name)}::text`).join(', ');
}

function parentOf({ parentSchema, parentTable }: ForeignKey): string {
  return `${quoteIdent(parentSchema)}.${quoteIdent(parentTable)}`;
}

function childOf({ schema, table }: ForeignKey): string {
  return `${quoteIdent(schema)}.${quoteIdent(table)}`;
}

function idOf(key: ForeignKey): string {
  return `${childOf(key)} ${quoteIdent(key.name)}`;
}
