/**
 * What apply does to the rows of user tables, over the statements of `sql-statements.ts`.
 *
 * Rows whose images have different columns go in different statements, since a column that an image lacks must keep its
 * value. Behind the first statement on a table the definition is asked for, under the lock that the statement took;
 * where it is not the one that the statement was made for, the transaction fails with SYN-A009 and the table is read
 * anew.
 */
import { type Image, imageToJson } from '../../change/change-event.ts';
import type { Hlc } from '../../change/hlc.ts';
import { rowKey } from '../../change/row-key.ts';
import type { Snapshot } from '../../clock/snapshot.ts';
import { invariant } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import { arrayText, type TextValue } from '../../platform/postgres.ts';
import type { Validity } from '../../resolve/known-merges.ts';
import type { Guard, RemoveOutcome, RemoveRow, RowKey, TableShape, Tuple, UpsertRow } from '../apply-port.ts';
import { DEFINITION_SQL, PARTITIONED_DEFINITION_SQL } from './sql-catalog.ts';
import { rivalsSql } from './sql-claims.ts';
import { ARE_VALID } from './sql-merges.ts';
import type { SqlOrigins } from './sql-origins.ts';
import type { SqlPipeline, ValueRow } from './sql-pipeline.ts';
import * as statements from './sql-statements.ts';
import type { SqlTableShape } from './sql-table-shape.ts';

type Keyed = { readonly key: RowKey; readonly pk: Image };

type Imaged = Keyed & { readonly image: Image };

/** Rows whose images have the same columns, with their places in the call. */
type Group<Row> = { readonly names: readonly string[]; readonly rows: Row[]; readonly places: number[] };

/** What there is to know of the transaction besides its connection. */
export type SqlBatch = {
  readonly origin: string;
  /** What was committed when the region's stream began; null where that is not known. */
  readonly began: Snapshot | null;
  readonly fullXid: (xid: number) => bigint;
  readonly onChanged: (shape: SqlTableShape) => void;
};

const JSON_TYPES = new Set(['json', 'jsonb', 'pg_catalog.json', 'pg_catalog.jsonb']);

export class SqlRows {
  readonly #pipeline: SqlPipeline;
  readonly #origins: SqlOrigins;
  readonly #batch: SqlBatch;
  readonly #verified = new Set<SqlTableShape>();

  constructor(pipeline: SqlPipeline, origins: SqlOrigins, batch: SqlBatch) {
    this.#pipeline = pipeline;
    this.#origins = origins;
    this.#batch = batch;
  }

  async canonicalKeys(table: TableShape, pks: readonly Image[]): Promise<RowKey[]> {
    const shape = sqlShape(table);
    const sql = statementOf(shape, 'canonical keys', () => statements.canonicalKeysSql(shape));
    const { rows } = await this.#pipeline.run(sql, keyArrays(shape, pks));
    return rows.map((texts) => JSON.stringify(texts));
  }

  async upsert(table: TableShape, rows: readonly UpsertRow[], origin: string, guard: Guard): Promise<number[]> {
    const shape = sqlShape(table);
    if (rows.length === 0) return [];
    const limits = this.#origins.guard(guard, leastHlc(rows));
    const left = groupByColumns(shape, rows).map(async (group) => {
      const { names, places } = group;
      const first = group.rows.every(({ isNew }) => isNew === true) ? 'insert' : 'update';
      const name = `upsert ${first} ${this.#origins.facts.writerType} ${names.join('\0')}`;
      const sql = statementOf(shape, name, () => statements.upsertSql(shape, names, first, this.#origins.facts));
      const answer = await this.#pipeline.run(sql, [
        ...limits,
        String(places.length),
        group.rows.map((row) => row.key).join('\n'),
        `{${group.rows.map((row) => row.hlc).join(',')}}`,
        origin,
        ...names.map((name) => arrayText(group.rows.map((row) => columnValue(row, name)))),
      ]);
      return answer.rows.map(([place]) => placeIn(places, place));
    });
    return (await this.#verify(shape, Promise.all(left))).flat();
  }

  async remove(table: TableShape, rows: readonly RemoveRow[], guard: Guard): Promise<RemoveOutcome[]> {
    const shape = sqlShape(table);
    if (rows.length === 0) return [];
    const sql = statementOf(shape, `remove ${this.#origins.facts.writerType}`, () =>
      statements.removeSql(shape, this.#origins.facts),
    );
    const limits = this.#origins.guard(guard, leastHlc(rows));
    const keys = keyArrays(
      shape,
      rows.map((row) => row.pk),
    );
    const answer = await this.#verify(shape, this.#pipeline.run(sql, [...limits, String(rows.length), ...keys]));
    const outcomes: RemoveOutcome[] = rows.map(() => 'removed');
    for (const [place, isThere] of answer.rows) outcomes[Number(place) - 1] = isThere === 't' ? 'kept' : 'absent';
    return outcomes;
  }

  async removeAll(table: TableShape, hlc: Hlc, guard: Guard): Promise<{ removed: number; left: Keyed[] }> {
    const shape = sqlShape(table);
    // All rows in the order of the heap: an index would only be in the way.
    const [, removal, remaining] = await this.#verify(
      shape,
      Promise.all([
        this.#pipeline.run('set local enable_seqscan = on'),
        this.#pipeline.runOnce(statements.removeAllSql(shape, this.#origins.facts), this.#origins.guard(guard, hlc)),
        this.#pipeline.runOnce(statements.remainingSql(shape, this.#origins.facts), [
          ...this.#origins.laterLocal(hlc),
          this.#batch.began?.text ?? null,
        ]),
        this.#pipeline.run('set local enable_seqscan = off'),
      ]),
    );
    return { removed: removal.rowCount, left: remaining.rows.map((texts) => toKeyed(shape, texts)) };
  }

  async inspect(table: TableShape, rows: readonly Keyed[]): Promise<Map<RowKey, Tuple>> {
    const shape = sqlShape(table);
    if (rows.length === 0) return new Map();
    const sql = statementOf(shape, `inspect ${this.#origins.facts.writerType}`, () =>
      statements.inspectSql(shape, this.#origins.facts),
    );
    const keys = keyArrays(
      shape,
      rows.map((row) => row.pk),
    );
    const answer = await this.#verify(shape, this.#pipeline.run(sql, keys));
    return new Map(
      answer.rows.map(([place, xmin, stamp, writer, own, ...values]) => {
        const row = rows[Number(place) - 1];
        invariant(row !== undefined, 'a row that was asked for');
        const tuple: Tuple = {
          xid: Number(xmin),
          stampMicros: own !== 't' && typeof stamp === 'string' ? BigInt(stamp) : null,
          // A commit timestamp and an origin come with the commit only.
          ...(own === 't' ? ownTuple(this.#batch.origin) : this.#writerOf(Number(xmin), writer ?? null)),
          ...(own !== 't' && writer === null && !this.#isFromBefore(Number(xmin)) ? { forgotten: true } : {}),
          own: own === 't',
          image: toImage(shape.columns, values),
        };
        return [row.key, tuple];
      }),
    );
  }

  /** By the key of each row, the rows that it would conflict with. */
  async rivals(table: TableShape, rows: readonly Imaged[]): Promise<Map<RowKey, Keyed[]>> {
    const shape = sqlShape(table);
    const found = new Map<RowKey, Keyed[]>();
    if (shape.claims.length === 0) return found;
    const asked = groupByColumns(shape, rows).map(async ({ names, rows: together }) => {
      const sql = statementOf(shape, `rivals ${names.join('\0')}`, () => rivalsSql(shape, names));
      const answer = await this.#pipeline.run(
        sql,
        names.map((name) => arrayText(together.map((row) => columnValue(row, name)))),
      );
      for (const [place, ...texts] of answer.rows) {
        const row = together[Number(place) - 1];
        invariant(row !== undefined, 'a row that was asked for');
        found.set(row.key, [...(found.get(row.key) ?? []), toKeyed(shape, texts)]);
      }
    });
    await this.#verify(shape, Promise.all(asked));
    return found;
  }

  /** A value of a JSON type is read as it is, any other as text of its column's type. */
  async areValid(
    table: TableShape,
    rows: readonly { readonly image: Image; readonly validity: Validity }[],
  ): Promise<boolean[]> {
    const shape = sqlShape(table);
    const asked = rows.map(({ image, validity }) => {
      const json = imageToJson(image, (column) => JSON_TYPES.has(shape.columnOf.get(column)?.type ?? ''));
      return `{"image": ${json}, ${JSON.stringify(validity).slice(1)}`;
    });
    const answer = await this.#verify(shape, this.#pipeline.run(ARE_VALID, [shape.id, `[${asked.join(', ')}]`]));
    return answer.rows.map(([isValid]) => isValid === 't');
  }

  async hasForgotten(table: TableShape): Promise<boolean> {
    const shape = sqlShape(table);
    const sql = statements.hasForgottenSql(shape, this.#origins.facts);
    const { rows } = await this.#verify(shape, this.#pipeline.runOnce(sql, [this.#batch.began?.text ?? null]));
    return rows[0]?.[0] === 't';
  }

  async overwrite(table: TableShape, row: UpsertRow): Promise<void> {
    const shape = sqlShape(table);
    const names = writtenColumns(shape, row.image);
    const sql = statementOf(shape, `overwrite ${names.join('\0')}`, () => statements.overwriteSql(shape, names));
    const written = statements.overwrittenColumns(shape, names).map((name) => columnValue(row, name));
    const values = [...keyValues(shape, row.pk), ...written];
    const { rowCount } = await this.#verify(shape, this.#pipeline.run(sql, values));
    invariant(rowCount === 1, 'a row that is inspected, and so locked, can be overwritten');
  }

  /** Those that a single UPDATE can give their columns go in one. */
  async overwriteAll(table: TableShape, rows: readonly UpsertRow[]): Promise<void> {
    const shape = sqlShape(table);
    const done = groupByColumns(shape, rows).map(async ({ names, rows: together }) => {
      const sql = statementOf(
        shape,
        `overwrite all ${names.join('\0')}`,
        () => statements.overwriteAllSql(shape, names) ?? '',
      );
      if (together.length === 1 || sql === '') {
        await Promise.all(together.map(async (row) => await this.overwrite(shape, row)));
        return;
      }
      const values = names.map((name) => arrayText(together.map((row) => columnValue(row, name))));
      const { rowCount } = await this.#verify(shape, this.#pipeline.run(sql, values));
      invariant(rowCount === together.length, 'rows that are inspected, and so locked, can be overwritten');
    });
    await Promise.all(done);
  }

  async insert(table: TableShape, row: UpsertRow): Promise<boolean> {
    const shape = sqlShape(table);
    const names = writtenColumns(shape, row.image);
    const sql = statementOf(shape, `insert ${names.join('\0')}`, () => statements.insertSql(shape, names));
    const values = names.map((name) => columnValue(row, name));
    return (await this.#verify(shape, this.#pipeline.run(sql, values))).rowCount === 1;
  }

  async erase(table: TableShape, row: Keyed): Promise<void> {
    const shape = sqlShape(table);
    const sql = statementOf(shape, 'erase', () => statements.eraseSql(shape));
    const { rowCount } = await this.#verify(shape, this.#pipeline.run(sql, keyValues(shape, row.pk)));
    invariant(rowCount === 1, 'a row that is inspected, and so locked, can be erased');
  }

  /** A local tuple from before the stream began is one that tells no stamp, whoever wrote it. */
  #writerOf(xid: number, name: string | null): Pick<Tuple, 'writer' | 'local' | 'foreign'> & { stampMicros?: null } {
    const writer = this.#origins.writerOf(name);
    if (!writer.local || !this.#isFromBefore(xid)) return writer;
    return { ...writer, foreign: false, stampMicros: null };
  }

  #isFromBefore(xid: number): boolean {
    const { began, fullXid } = this.#batch;
    return began?.sees(fullXid(xid)) ?? false;
  }

  /** Asks, behind the first statement on a table, whether its definition is still the one that was read. */
  async #verify<T>(shape: SqlTableShape, work: Promise<T>): Promise<T> {
    if (this.#verified.has(shape)) return await work;
    this.#verified.add(shape);
    const definition = shape.isPartitioned ? PARTITIONED_DEFINITION_SQL : DEFINITION_SQL;
    const [result, { rows }] = await Promise.all([work, this.#pipeline.run(definition, [shape.oid, shape.keyIndex])]);
    if (rows[0]?.[0] !== shape.definition) {
      this.#batch.onChanged(shape);
      throw fail('SYN-A009', shape.id, { context: { schema: shape.schema, table: shape.table } });
    }
    return result;
  }
}

const statementTexts = new WeakMap<SqlTableShape, Map<string, string>>();

/** The text of a statement on this table, made once per definition of it. */
function statementOf(shape: SqlTableShape, name: string, make: () => string): string {
  let texts = statementTexts.get(shape);
  if (texts === undefined) {
    texts = new Map();
    statementTexts.set(shape, texts);
  }
  let text = texts.get(name);
  if (text === undefined) {
    text = make();
    texts.set(name, text);
  }
  return text;
}

function ownTuple(writer: string): Pick<Tuple, 'writer' | 'local' | 'foreign'> {
  return { writer, local: false, foreign: false };
}

function sqlShape(shape: TableShape): SqlTableShape {
  invariant('definition' in shape, 'the shape comes from this port');
  return shape as SqlTableShape;
}

function leastHlc(rows: readonly { readonly hlc: Hlc }[]): Hlc {
  let least = rows[0]?.hlc ?? 0n;
  for (const { hlc } of rows) if (hlc < least) least = hlc;
  return least;
}

function groupByColumns<Row extends Imaged>(shape: SqlTableShape, rows: readonly Row[]): Group<Row>[] {
  const groups = new Map<string, Group<Row>>();
  let newest: { readonly columns: readonly string[]; readonly group: Group<Row> } | null = null;
  for (const [place, row] of rows.entries()) {
    // Neighbours mostly have the same columns, and looking at that is much cheaper than all else.
    if (newest === null || !hasColumns(row.image, newest.columns)) {
      const names = writtenColumns(shape, row.image);
      const name = names.join('\0');
      const group: Group<Row> = groups.get(name) ?? { names, rows: [], places: [] };
      groups.set(name, group);
      newest = { columns: Object.keys(row.image), group };
    }
    newest.group.rows.push(row);
    newest.group.places.push(place);
  }
  return [...groups.values()];
}

/** Whether these are the image's columns, in its order. */
function hasColumns(image: Image, columns: readonly string[]): boolean {
  let place = 0;
  for (const column in image) {
    if (columns[place] !== column) return false;
    place += 1;
  }
  return place === columns.length;
}

/** The columns that an image sets, with the key's in any case; SYN-A003 where the table lacks one. */
function writtenColumns(shape: SqlTableShape, image: Image): string[] {
  let known = 0;
  const names = shape.columns.filter((name) => {
    const isSet = Object.hasOwn(image, name);
    if (isSet) known += 1;
    return isSet || shape.key.includes(name);
  });
  if (Object.keys(image).length !== known) {
    const unknown = Object.keys(image).filter((name) => !shape.columnOf.has(name) && !shape.generated.has(name));
    if (unknown.length > 0) {
      throw fail('SYN-A003', `${shape.id} has no column ${unknown.join(', ')}`, { context: { columns: unknown } });
    }
  }
  return names;
}

function columnValue(row: Imaged, name: string): TextValue {
  return (Object.hasOwn(row.image, name) ? row.image[name] : row.pk[name]) ?? null;
}

function keyValues(shape: SqlTableShape, pk: Image): TextValue[] {
  return shape.key.map((name) => pk[name] ?? null);
}

function keyArrays(shape: SqlTableShape, pks: readonly Image[]): TextValue[] {
  return shape.key.map((name) => arrayText(pks.map((pk) => pk[name] ?? null)));
}

function placeIn(places: readonly number[], place: TextValue | undefined): number {
  const found = places[Number(place) - 1];
  invariant(found !== undefined, 'a row of the call');
  return found;
}

/** A key from its texts: as they are, then in canonical form where the text alone does not tell. */
function toKeyed(shape: SqlTableShape, texts: ValueRow): Keyed {
  const pk = toImage(shape.key, texts);
  return { key: shape.keyNeedsDatabase ? JSON.stringify(texts.slice(shape.key.length)) : rowKey(shape, pk), pk };
}

function toImage(names: readonly string[], values: ValueRow): Image {
  return Object.fromEntries(names.map((name, place) => [name, values[place] ?? null]));
}
