/**
 * Writes the losing side of a conflict once more, because somebody has decided for it.
 *
 * It is an ordinary write: a transaction of a connection that is no replica's, with triggers and checks, captured and sent
 * like a user's. It has seen the winner, so it is later, and wins in every region by the common rule. To write under the loser's old
 * version instead would change nothing anywhere, and to change rows beside the log would make regions differ.
 *
 * Values are read by the input of their column's type without its modifier, and the assignment to the column applies
 * that: a cast to varchar(5) would cut a longer value silently, the assignment refuses it. The table is locked against
 * changes of its definition before that is read.
 *
 * Nothing remembers that it was done: a second call is a second write, by somebody who may have changed the row between.
 */
import type { Image } from '../../change/change-event.ts';
import { fail, isInfrastructure, SynclineError, sqlStateOf } from '../../platform/errors.ts';
import { type PostgresClient, quoteIdent, type TextRow, type TextValue } from '../../platform/postgres.ts';
import { loadShape } from './sql-catalog.ts';
import type { SqlTableShape } from './sql-table-shape.ts';

export type Reapplied = {
  readonly conflict_id: string;
  readonly schema_name: string;
  readonly table_name: string;
  readonly row_pk: Image;
  readonly operation: 'upsert' | 'delete';
  /** 0 where the row to delete is gone already, or there is nothing to set. */
  readonly rows: number;
  /** The row as it is now, in the columns of the image; null where none was written. */
  readonly written: Image | null;
  /** Columns of the image that are not written: the table has them no more, or computes them, or they cannot be changed. */
  readonly left_out: readonly string[];
};

type Statement = { readonly text: string; readonly values: readonly TextValue[]; readonly columns: readonly string[] };
type Loser = {
  readonly schema: string;
  readonly table: string;
  readonly pk: Image;
  readonly image: Image | null;
  readonly redacted: ReadonlySet<string>;
};

const RECORD = `
select schema_name, table_name, row_pk, resolution_strategy, image_a, provisional_reason, to_json(redacted)::text as redacted
  from syncline.conflict_log where conflict_id = $1::uuid`;

/** A name that is wrong, and a table that is none. */
const GONE = new Set(['42P01', '3F000', '42809']);
/** A lock that was not to be had, a statement that took too long for that, and a deadlock. */
const BUSY = new Set(['55P03', '57014', '40P01']);
/** Whose detail names the values of a key, and not those of a whole row. */
const KEY_VIOLATIONS = new Set(['23503', '23505', '23P01']);

/** SYN-T160 to T166. The connection waits for locks no longer than it is set to. */
export async function writeLoser(
  client: PostgresClient,
  conflictId: string,
  isReplicated: (schema: string, table: string) => boolean,
): Promise<Reapplied> {
  const { rows } = await client.query(RECORD, [conflictId]);
  const loser = loserOf(conflictId, rows[0]);
  const { schema, table, pk, image } = loser;
  const name = `${schema}.${table}`;
  if (!isReplicated(schema, table)) throw fail('SYN-T163', `${name} is not replicated here`);
  try {
    return await client.transaction(async () => {
      const shape = await lockedShape(client, schema, table);
      if (shape === null) throw fail('SYN-T163', `${name} does not exist`);
      const missing = shape.key.filter((column) => pk[column] == null);
      if (missing.length > 0)
        throw fail('SYN-T161', `the record does not tell ${missing.join(', ')}, of the key of ${name}`);
      const statement = image === null ? deletion(shape, pk) : upsert(shape, { ...image, ...pk }, loser.redacted);
      // Triggers find what they find for everybody; all that is named here has its schema, or is PostgreSQL's own.
      await client.query('set local search_path to default');
      const done = await client.queryArrays(statement.text, statement.values);
      const [row] = done.rows;
      return {
        conflict_id: conflictId,
        schema_name: schema,
        table_name: table,
        row_pk: pk,
        operation: image === null ? 'delete' : 'upsert',
        rows: done.rowCount,
        written:
          image === null || row === undefined
            ? null
            : Object.fromEntries(statement.columns.map((column, place) => [column, row[place] ?? null])),
        left_out: Object.keys(image ?? {}).filter((column) => !statement.columns.includes(column)),
      };
    });
  } catch (error) {
    throw refusal(name, error);
  }
}

function loserOf(conflictId: string, row: TextRow | undefined): Loser {
  if (row === undefined) throw fail('SYN-T160', conflictId);
  if (row.resolution_strategy === 'orphan') throw fail('SYN-T165', conflictId);
  // Without an image the losing write was a removal, unless the record says that it does not know.
  if (row.image_a == null && row.provisional_reason != null) {
    throw fail('SYN-T161', `${conflictId}: ${row.provisional_reason}`);
  }
  return {
    schema: String(row.schema_name),
    table: String(row.table_name),
    pk: JSON.parse(String(row.row_pk)) as Image,
    image: JSON.parse(row.image_a ?? 'null') as Image | null,
    redacted: new Set(JSON.parse(row.redacted ?? '[]') as string[]),
  };
}

async function lockedShape(client: PostgresClient, schema: string, table: string): Promise<SqlTableShape | null> {
  await client.query(`lock table ${quoteIdent(schema)}.${quoteIdent(table)} in row exclusive mode`);
  return await loadShape(client, schema, table);
}

/** Of a row that is there, the key and what only the database may number stay as they are. */
function upsert(shape: SqlTableShape, image: Image, redacted: ReadonlySet<string>): Statement {
  const columns = shape.columns.filter((column) => Object.hasOwn(image, column));
  const withheld = columns.filter((column) => redacted.has(column));
  if (withheld.length > 0) throw fail('SYN-T162', `${shape.schema}.${shape.table}: ${withheld.join(', ')}`);
  const typed = columns.map((column, place) => `$${place + 1}::${shape.columnOf.get(column)?.type}`);
  const isFixed = (column: string): boolean => shape.columnOf.get(column)?.isIdentityAlways === true;
  const free = columns.filter((column) => !shape.key.includes(column) && !isFixed(column));
  // Without another column the key itself is set, to what it is, so that there is a new version.
  const set = free.length > 0 ? free : shape.key.filter((column) => !isFixed(column)).slice(0, 1);
  const action =
    set.length === 0
      ? 'do nothing'
      : `do update set ${set.map((column) => `${quoteIdent(column)} = excluded.${quoteIdent(column)}`).join(', ')}`;
  const list = columns.map(quoteIdent).join(', ');
  return {
    text: `insert into ${shape.id} as t (${list}) overriding system value values (${typed.join(', ')})
      on conflict (${shape.key.map(quoteIdent).join(', ')}) ${action} returning ${columns.map((column) => `t.${quoteIdent(column)}`).join(', ')}`,
    values: columns.map((column) => image[column] ?? null),
    columns,
  };
}

function deletion(shape: SqlTableShape, pk: Image): Statement {
  const named = shape.keyColumns.map(
    ({ name, equals }, place) => `${quoteIdent(name)} ${equals} $${place + 1}::${shape.columnOf.get(name)?.type}`,
  );
  return {
    text: `delete from ${shape.id} where ${named.join(' and ')}`,
    values: shape.key.map((column) => pk[column] ?? null),
    columns: [],
  };
}

function refusal(name: string, error: unknown): unknown {
  const state = sqlStateOf(error);
  if (state === undefined || !(error instanceof Error) || error instanceof SynclineError) return error;
  if (GONE.has(state)) return fail('SYN-T163', `${name}: ${error.message}`, { cause: error });
  if (BUSY.has(state)) return fail('SYN-T166', `${name}: ${error.message}`, { cause: error });
  if (isInfrastructure(error)) return error;
  const told = KEY_VIOLATIONS.has(state) && 'detail' in error ? `: ${String(error.detail)}` : '';
  return fail('SYN-T164', `${name}: ${error.message}${told}`, { cause: error, context: { sqlstate: state } });
}
