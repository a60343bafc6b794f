/**
 * Tells the rows of one table, in the order of its key, some at a time.
 *
 * A chunk is one short transaction: the rows are locked against changes, looked at, emitted into the WAL, and the place is kept
 * up to which the table is told. So a row's place in the stream is right against every change of it, whoever makes that, and an
 * agent that is killed goes on where the last chunk ended. Which rows are read next is asked without a lock; one that goes, or
 * comes, in between is in the stream by itself.
 *
 * Nothing is told while an event of the table is set aside: others have applied the removal that it may be, and keep nothing of it.
 *
 * It gives way to users: a lock that is not to be had soon ends the chunk, before the server looks for deadlocks.
 *
 * Rows may be of any size, and neighbours of very different ones. So the server weighs them before any is read, and a chunk ends
 * where it is heavy enough, whatever the number of rows that was asked for. A row that no event can hold is refused here: in the
 * stream, it would stop the capture of the region.
 */

import { loadShape } from '../apply/sql/sql-catalog.ts';
import { canonicalKeysSql, inspectSql, overwriteSql, overwrittenColumns, target } from '../apply/sql/sql-statements.ts';
import type { SqlTableShape } from '../apply/sql/sql-table-shape.ts';
import { AUTHOR_LABEL, FACTS_OF_AUTHORS } from '../apply/sql/sql-tuple-facts.ts';
import type { Image } from '../change/change-event.ts';
import { type Hlc, hlcFromMicros, hlcFromText, hlcToText } from '../change/hlc.ts';
import { rowKey } from '../change/row-key.ts';
import { CLAIM_PREFIX, type ClaimMessage, SECRET_KEY } from '../change/table-transfer.ts';
import { fail } from '../platform/errors.ts';
import { ownOriginPrefix } from '../platform/own-origins.ts';
import { arrayText, type PostgresClient, quoteIdent, type TextValue } from '../platform/postgres.ts';
import { writeAsReplica } from '../platform/replica-role.ts';
import { claimOf } from './row-claim.ts';
import { hasSetAside, IS_OF_EPOCH, IS_OWN, ownValues, type TableWord } from './transfer-store.ts';

/** Below the time after which a server looks for deadlocks, so that the user is never the victim. */
const LOCK_TIMEOUT_MS = 100;

type ChunkLimits = { readonly chunkBytes: number; readonly rowBytes: number };

const LIMITS: ChunkLimits = { chunkBytes: 1024 * 1024, rowBytes: 128 * 1024 * 1024 };
/** Texts are longer once they are escaped. Capture takes records up to somewhat more, and twice as much is a string yet. */
const MESSAGE_BYTES_MAX = 250 * 1024 * 1024;
/** A UTF-16 unit becomes three bytes of UTF-8 at most. */
const BYTES_PER_CHARACTER_MAX = 3;

export type Told = { readonly rows: number; readonly bytes: number; readonly isEnd: boolean };

type Held = { readonly pk: Image; readonly key: string; readonly image: Image; readonly values: readonly TextValue[] };

/**
 * Tells up to so many rows behind the last one; null where nothing is to be told now. SYN-K031 where a row is larger than any
 * event.
 */
export async function tellRows(
  client: PostgresClient,
  own: TableWord,
  members: readonly string[],
  since: Hlc,
  rowsMax: number,
  limits = LIMITS,
): Promise<Told | null> {
  const shape = await loadShape(client, own.schema, own.table);
  if (shape === null) return null;
  return await client.transaction(async () => {
    await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
    // The strongest lock first: whoever keeps others from writing, and then locks the table as a whole, would be the victim if this
    // had read the table by then and waited to lock its rows.
    await client.query(`lock table ${target(shape)} in row share mode`);
    // Of what is set aside from here on, the rows that are told come before that in the stream.
    await client.query('lock table syncline.quarantine in share mode');
    const from = await place(client, own, shape);
    if (from === undefined) return null;
    const page = firstOf(shape, await nextKeys(client, shape, from.told, rowsMax), limits);
    const last = page.at(-1);
    if (last === undefined) {
      await client.query(`${SAY_DONE}`, ownValues(own));
      return { rows: 0, bytes: 0, isEnd: true };
    }
    const bytes = await emit(client, own, shape, await lockRows(client, shape, page), { since, members, ...from });
    await client.query('update syncline.transfer_hold set told = $2::json where rel = $1', [
      shape.id,
      JSON.stringify(last),
    ]);
    await client.query(SAY_TOLD, [...ownValues(own), String(page.length)]);
    return { rows: page.length, bytes, isEnd: false };
  });
}

const SAY_DONE = `update syncline.transfer set state = 'done', rows_total = rows_told, updated_at = clock_timestamp() where ${IS_OWN} and state = 'ready'`;
const SAY_TOLD = `
update syncline.transfer
   set rows_told = rows_told + $5::bigint, rows_total = greatest(rows_total, rows_told + $5::bigint), updated_at = clock_timestamp()
 where ${IS_OWN}`;

type Place = { readonly told: Image | null; readonly sealed: string; readonly secret: string; readonly began: string };

/** Where the table is told up to; undefined where it is not to be told now. */
async function place(client: PostgresClient, own: TableWord, shape: SqlTableShape): Promise<Place | undefined> {
  const { rows } = await client.query(
    `select h.told::text as told, h.sealed,
            (select value from syncline.meta where key = $6) as secret,
            (select value from syncline.meta where key = 'began_snapshot') as began
       from syncline.transfer_hold h
      where h.rel = $5 and h.generation = $4::bigint and ${IS_OF_EPOCH} and not ${hasSetAside('h.rel')}
        and exists (select from syncline.transfer where ${IS_OWN} and state = 'ready') for update of h`,
    [...ownValues(own), shape.id, SECRET_KEY],
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  const told = JSON.parse(row.told ?? 'null') as Image | null;
  const isOfKey = told !== null && shape.key.every((column) => Object.hasOwn(told, column));
  return {
    told: isOfKey ? told : null,
    sealed: String(row.sealed),
    secret: row.secret ?? '',
    began: String(row.began),
  };
}

type Weighed = { readonly pk: Image; readonly bytes: number };

/** The rows are chosen first, so that none but these is weighed. */
async function nextKeys(
  client: PostgresClient,
  shape: SqlTableShape,
  after: Image | null,
  limit: number,
): Promise<Weighed[]> {
  const columns = shape.key.map((column) => `t.${quoteIdent(column)}`).join(', ');
  const typed = shape.key.map((column, place) => `$${place + 1}::${shape.columnOf.get(column)?.type}`).join(', ');
  const weights = shape.columns.map((column) => `coalesce(octet_length(t.${quoteIdent(column)}::text), 0)::bigint`);
  const { rows } = await client.queryArrays(
    `select ${weights.join(' + ')}, ${columns}
       from (select * from ${target(shape)} as t
              ${after === null ? '' : `where (${columns}) > (${typed})`} order by ${columns} limit ${limit}) as t
      order by ${columns}`,
    after === null ? [] : shape.key.map((column) => after[column] ?? null),
  );
  return rows.map(([bytes, ...values]) => ({ pk: toImage(shape.key, values), bytes: Number(bytes) }));
}

/** The keys of the first rows, at least one, that are together within the bound. */
function firstOf(shape: SqlTableShape, rows: readonly Weighed[], { chunkBytes, rowBytes }: ChunkLimits): Image[] {
  const page: Image[] = [];
  let sum = 0;
  for (const { pk, bytes } of rows) {
    sum += bytes;
    if (page.length > 0 && sum > chunkBytes) break;
    if (bytes > rowBytes) throw tooLarge(shape.key, pk, `${bytes} bytes as text`, rowBytes);
    page.push(pk);
  }
  return page;
}

function tooLarge(key: readonly string[], row: Image, size: string, limit: number): Error {
  const named = key.map((column) => `${column} = ${row[column]}`).join(', ');
  return fail('SYN-K031', `the row with ${named} takes ${size}; the limit is ${limit}`);
}

async function lockRows(client: PostgresClient, shape: SqlTableShape, page: readonly Image[]): Promise<Held[]> {
  const arrays = shape.key.map((column) => arrayText(page.map((pk) => pk[column] ?? null)));
  const { rows } = await client.queryArrays(inspectSql(shape, FACTS_OF_AUTHORS), arrays);
  const canonical = shape.keyNeedsDatabase ? (await client.queryArrays(canonicalKeysSql(shape), arrays)).rows : null;
  return rows.flatMap((values) => {
    const at = Number(values[0]) - 1;
    const pk = page[at];
    if (pk === undefined) return [];
    const key = canonical === null ? rowKey(shape, pk) : JSON.stringify(canonical[at]);
    return [{ pk, key, image: toImage(shape.columns, values.slice(5)), values }];
  });
}

/** What is to be known of each tuple beside its own columns: $1 xmins, $2 writers, $3 keys, $4 the table, $5 and $6 snapshots. */
const FACTS = `
select coalesce(pg_visible_in_snapshot(x.id, $5::pg_snapshot), false) as is_sealed,
       coalesce(pg_visible_in_snapshot(x.id, $6::pg_snapshot), false) as is_before,
       (select roname from pg_replication_origin o where o.roident::text = nullif(i.writer, '0')) as origin,
       (select max(v.hlcs[array_position(v.keys, i.key collate "C")]) from syncline.row_version v
         where i.writer <> '0' and v.xid = x.id and v.rel = $4) as exact
  from unnest($1::bigint[], $2::text[], $3::text[]) with ordinality as i(xmin, writer, key, n)
 cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as s
 cross join lateral (select (s.newest - ((s.newest - i.xmin) & 4294967295))::text::xid8 as id) as x
 order by i.n`;

type Telling = Place & { readonly since: Hlc; readonly members: readonly string[] };

/** Emits what is this region's to tell; returns how much that was. */
async function emit(
  client: PostgresClient,
  own: TableWord,
  shape: SqlTableShape,
  held: readonly Held[],
  { since, members, sealed, began, secret }: Telling,
): Promise<number> {
  const prefix = await ownOriginPrefix(client);
  const column = (of: (row: Held) => TextValue | undefined): string => arrayText(held.map((row) => of(row) ?? null));
  const { rows: facts } = await client.query(FACTS, [
    column(({ values }) => values[1]),
    column(({ values }) => values[3]),
    column(({ key }) => key),
    shape.id,
    sealed,
    began,
  ]);
  const messages: string[] = [];
  for (const [at, row] of held.entries()) {
    const fact = facts[at];
    if (fact === undefined) continue;
    const writer = writerOf(row.values[3] ?? null, fact.origin ?? null, prefix);
    const stamp = typeof row.values[2] === 'string' ? hlcFromMicros(BigInt(row.values[2])) : null;
    const isBefore = writer === null && fact.is_before === 't';
    const claim = claimOf(
      { self: own.region, members },
      {
        local: writer === null,
        writer: writer ?? own.region,
        foreign: writer === null && fact.origin !== null,
        stamp: isBefore ? null : stamp,
        exact: fact.exact == null ? null : hlcFromText(fact.exact),
        isSealed: fact.is_sealed === 't',
      },
      since,
    );
    if (claim?.kind === 'rewrite') await rewrite(client, shape, row);
    if (claim?.kind !== 'claim') continue;
    const message: ClaimMessage = {
      secret,
      schema: shape.schema,
      table: shape.table,
      key: shape.key,
      after: row.image,
      version: hlcToText(claim.version),
      since: hlcToText(since),
    };
    messages.push(textOf(message));
  }
  const [message] = messages;
  // A single one may be so long that it could not be escaped once more, as in an array.
  if (message !== undefined && messages.length === 1)
    await client.query('select pg_logical_emit_message(true, $1::text, $2::text)', [CLAIM_PREFIX, message]);
  else if (messages.length > 1)
    await client.query('select pg_logical_emit_message(true, $1::text, m) from unnest($2::text[]) as m', [
      CLAIM_PREFIX,
      arrayText(messages),
    ]);
  return messages.reduce((sum, message) => sum + message.length, 0);
}

/** SYN-K031 where it is longer than an event may be. */
function textOf(message: ClaimMessage): string {
  let text: string;
  try {
    text = JSON.stringify(message);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw tooLarge(message.key, message.after, 'more bytes than a string can hold', MESSAGE_BYTES_MAX);
  }
  const bytes = text.length * BYTES_PER_CHARACTER_MAX <= MESSAGE_BYTES_MAX ? 0 : Buffer.byteLength(text);
  if (bytes <= MESSAGE_BYTES_MAX) return text;
  throw tooLarge(message.key, message.after, `${bytes} bytes as a message`, MESSAGE_BYTES_MAX);
}

/** The region whose events a tuple holds; null for a local one. */
function writerOf(label: TextValue, origin: string | null, prefix: string): string | null {
  if (typeof label === 'string' && label.startsWith(AUTHOR_LABEL)) return label.slice(AUTHOR_LABEL.length);
  return origin?.startsWith(prefix) === true ? origin.slice(prefix.length) : null;
}

/** It is the agent that writes: triggers of users have fired for the row before. */
async function rewrite(client: PostgresClient, shape: SqlTableShape, { pk, image }: Held): Promise<void> {
  await writeAsReplica(client, 'transaction');
  const written = overwrittenColumns(shape, shape.columns).map((column) => image[column] ?? null);
  await client.query(overwriteSql(shape, shape.columns), [
    ...shape.key.map((column) => pk[column] ?? null),
    ...written,
  ]);
}

function toImage(columns: readonly string[], values: readonly TextValue[]): Image {
  return Object.fromEntries(columns.map((column, place) => [column, values[place] ?? null]));
}
