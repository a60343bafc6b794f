/** What regions say of tables that are published late, and what this region keeps for it, in the database. */
import { type Hlc, hlcFromText } from '../change/hlc.ts';
import { lsnFromText } from '../change/position.ts';
import { NAME_KEY, nameNote } from '../change/table-transfer.ts';
import { type PostgresClient, quoteIdent, type TextRow } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { TransferHold, TransferState, TransferWord } from './transfer-steps.ts';

export type TableWord = TransferWord & {
  readonly schema: string;
  readonly table: string;
  readonly reason: string | null;
  readonly is_former: boolean;
  readonly rows_total: number | null;
  readonly rows_told: number;
};

/** What this region has said of a table, by `ownValues`. */
export const IS_OWN = 'schema_name = $1 and table_name = $2 and region = $3 and generation = $4::bigint';

export function ownValues({ schema, table, region, generation }: TableWord): string[] {
  return [schema, table, region, String(generation)];
}

export async function readWords(database: Queryable): Promise<TableWord[]> {
  const { rows } = await database.query('select * from syncline.transfer order by schema_name, table_name, region');
  return rows.map(toWord);
}

function toWord(row: TextRow): TableWord {
  return {
    schema: String(row.schema_name),
    table: String(row.table_name),
    region: String(row.region),
    generation: Number(row.generation),
    state: String(row.state) as TransferState,
    sealed_at: row.sealed_at == null ? null : hlcFromText(row.sealed_at),
    reason: row.reason ?? null,
    is_former: row.is_former === 't',
    rows_total: row.rows_total == null ? null : Number(row.rows_total),
    rows_told: Number(row.rows_told),
  };
}

/** In `syncline.meta`, the epoch in which a table was sealed stands under this and its name. */
const EPOCH_KEY = "'transfer_epoch:'";
const OWN_EPOCH = "(select value from syncline.meta where key = 'epoch')";
const EPOCH_OF_HOLD = `(select value from syncline.meta where key = ${EPOCH_KEY} || h.rel)`;

/** Whether the hold `h` is of this database's present epoch. */
export const IS_OF_EPOCH = `${EPOCH_OF_HOLD} = ${OWN_EPOCH}`;

/** What is kept of tables, by their names. */
export async function readHolds(database: Queryable): Promise<Map<string, TransferHold>> {
  const { rows } = await database.query(
    `select h.rel, h.generation, ${EPOCH_OF_HOLD} as epoch from syncline.transfer_hold as h`,
  );
  return new Map(rows.map(({ rel, ...hold }) => [String(rel), toHold(hold)]));
}

function toHold({ generation, epoch }: TextRow): TransferHold {
  return { generation: Number(generation), epoch: epoch ?? null };
}

/** The epoch of the region's own stream; null where it has none yet. */
export async function readEpoch(database: Queryable): Promise<string | null> {
  const { rows } = await database.query(`select ${OWN_EPOCH} as epoch`);
  return rows[0]?.epoch ?? null;
}

export function relOf({ schema, table }: Pick<TableWord, 'schema' | 'table'>): string {
  return `${quoteIdent(schema)}.${quoteIdent(table)}`;
}

/** Whether the table is published, is there at all, and why rows of it cannot be told. */
export type TableState = {
  readonly isPublished: boolean;
  readonly isThere: boolean;
  readonly refusal: string | null;
  /** It had another name when it was published, and capture has not seen the new one yet. */
  readonly isRenamed: boolean;
};

export async function readTableState(
  database: Queryable,
  publication: string,
  table: Pick<TableWord, 'schema' | 'table'>,
): Promise<TableState> {
  const { rows } = await database.query(
    `select c.oid is not null as is_there,
            exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                     where p.pubname = $2 and r.prrelid = c.oid) as is_published,
            syncline.transfer_refusal(c.oid) as refusal,
            exists (select from syncline.meta where key = $3::text || c.oid and value <> $4) as is_renamed
       from (select to_regclass($1)::oid as oid) as c`,
    [relOf(table), publication, NAME_KEY, nameNote(table)],
  );
  const [row] = rows;
  return {
    isThere: row?.is_there === 't',
    isPublished: row?.is_published === 't',
    refusal: row?.refusal ?? null,
    isRenamed: row?.is_renamed === 't',
  };
}

/** Says something of a table in a generation of which this region has said nothing yet. */
export async function join(
  database: Queryable,
  { schema, table, region }: Pick<TableWord, 'schema' | 'table' | 'region'>,
  generation: number,
  state: TransferState,
  reason: string | null,
): Promise<void> {
  await database.query(
    `insert into syncline.transfer as t (schema_name, table_name, region, generation, state, reason)
     values ($1, $2, $3, $4::bigint, $5, $6)
         on conflict (schema_name, table_name, region) do update
        set generation = excluded.generation, state = excluded.state, reason = excluded.reason, sealed_at = null,
            rows_total = null, rows_told = 0, updated_at = excluded.updated_at
      where t.generation < excluded.generation`,
    [schema, table, region, String(generation), state, reason],
  );
}

/** From one state into the next, unless it is in another by now. */
export async function moveOn(
  database: Queryable,
  own: TableWord,
  state: TransferState,
  isFormer = false,
): Promise<void> {
  await database.query(
    `update syncline.transfer set state = $6, is_former = is_former or $7::boolean, updated_at = clock_timestamp()
      where ${IS_OWN} and state = $5`,
    [...ownValues(own), own.state, state, String(isFormer)],
  );
}

/**
 * Seals the table, once all transactions below `below` have ended: what they wrote is from before the seal, and nothing else.
 * `least` is a stamp that the seal is not below.
 *
 * A snapshot of now would be the obvious seal and is a wrong one: it lists no subtransactions, so a row that was written in a
 * savepoint counts as committed while its transaction is open.
 */
export async function seal(
  client: PostgresClient,
  own: TableWord,
  below: bigint,
  least: Hlc,
  window: Hlc,
): Promise<void> {
  await client.transaction(async () => {
    const { rows } = await client.query(
      `insert into syncline.transfer_hold as h (rel, generation, sealed)
       select $1, $2::bigint, format('%s:%s:', $3::xid8, $3::xid8)
        where pg_snapshot_xmin(pg_current_snapshot()) >= $3::xid8
           on conflict (rel) do update
          set generation = excluded.generation, above = 0, sealed = excluded.sealed, told = null
       returning rel`,
      [relOf(own), String(own.generation), String(below)],
    );
    if (rows.length === 0) return;
    await client.query(
      `insert into syncline.meta (key, value) values (${EPOCH_KEY} || $1::text, ${OWN_EPOCH})
           on conflict (key) do update set value = excluded.value`,
      [relOf(own)],
    );
    await client.query(
      `update syncline.transfer
          set state = 'sealed', updated_at = clock_timestamp(), sealed_at = $5::bigint
              + greatest($6::bigint, (extract(epoch from clock_timestamp()) * 1000000)::bigint << 10)
        where ${IS_OWN} and state = 'published'`,
      [...ownValues(own), String(window), String(least)],
    );
  });
}

/** Whether events of a table are set aside: what they make of its rows is not known yet. */
export const hasSetAside = (name: string): string => `exists (select from syncline.quarantine where rel = ${name})`;

/** Lets go what was kept from before, and tells whether nothing of it is left, nor set aside. */
export async function isForgotten(database: Queryable, own: TableWord, since: Hlc): Promise<boolean> {
  const rel = relOf(own);
  await database.query('update syncline.transfer_hold set above = $2::bigint where rel = $1 and above <> $2::bigint', [
    rel,
    String(since),
  ]);
  const { rows } = await database.query(
    `select exists (select from syncline.row_version where rel = $1 and stamp <= $2::bigint >> 10)
         or exists (select from syncline.tombstone where rel = $1 and hlc <= $2::bigint)
         or exists (select from syncline.look_again where rel = $1)
         or ${hasSetAside('$1')} as left`,
    [rel, String(since)],
  );
  return rows[0]?.left === 'f';
}

/** Says how many rows the planner takes the table for, for who follows the progress: to count them takes a scan. */
export async function estimateRows(client: PostgresClient, own: TableWord): Promise<void> {
  const { rows } = await client.query(`explain (format json) select from ${relOf(own)}`);
  const [explained] = JSON.parse(rows[0]?.['QUERY PLAN'] ?? '[]') as { Plan: { 'Plan Rows': number } }[];
  await client.query(
    `update syncline.transfer set rows_total = greatest(rows_told, $5::bigint) where ${IS_OWN} and rows_total is null`,
    [...ownValues(own), String(explained?.Plan['Plan Rows'] ?? 0)],
  );
}

/** Rows of the table cannot be told, which ends it for all regions. */
export async function refuse(database: Queryable, own: TableWord, reason: string): Promise<void> {
  await database.query(
    `update syncline.transfer set state = 'refused', reason = $6, updated_at = clock_timestamp()
      where ${IS_OWN} and state = $5`,
    [...ownValues(own), own.state, reason],
  );
}

export async function letGo(database: Queryable, own: TableWord): Promise<void> {
  await database.query(
    `with kept as (delete from syncline.transfer_hold where rel = $1)
     delete from syncline.meta where key = ${EPOCH_KEY} || $1::text`,
    [relOf(own)],
  );
}

/** Writes the region's own rows once more: for who has passed over them, or lost them. */
export async function sendAgain(database: Queryable, region: string): Promise<void> {
  await database.query('update syncline.transfer set region = region where region = $1', [region]);
}

/** Where the WAL ends, and above the ids of all transactions that have ended by then. */
export type Moment = { readonly lsn: bigint; readonly xmax: bigint };

export async function readMoment(database: Queryable): Promise<Moment> {
  const { rows } = await database.query(
    'select pg_current_wal_insert_lsn() as lsn, pg_snapshot_xmax(pg_current_snapshot()) as xmax',
  );
  return { lsn: lsnFromText(rows[0]?.lsn ?? '0/0'), xmax: BigInt(rows[0]?.xmax ?? 0) };
}
