/**
 * Says, in the transaction that publishes a table, that its rows are to be told to the other regions; and, in the one that takes
 * it out, that it has left. What follows from that is done elsewhere (`src/transfer/`); capture knows only these two moments.
 *
 * A table that was published before and left, or was made anew under a name that was published, is told by nobody: rows that were
 * removed here meanwhile are in the other regions under this region's name, and none of them would send them back.
 *
 * Regions know a table by its name, the publication by its oid. So the name under which a table was published is noted by its
 * oid: one that is renamed before all are done with it begins anew under the new name, as any other that comes later.
 */
import { NAME_KEY, nameNote } from '../../change/table-transfer.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { readHistory } from '../slot/slot.ts';
import type { CatalogTable } from './table-catalog.ts';

type Named = Pick<CatalogTable, 'schema' | 'table'>;

/** False where rows of the table cannot be told. */
export async function sayPublished(
  client: PostgresClient,
  region: string,
  table: Named & { readonly oid: number },
): Promise<boolean> {
  const { schema, table: name, oid } = table;
  const wasThere = (await readHistory(client))?.begin.tables.some(
    (each) => each.schema === schema && each.table === name,
  );
  const { rows } = await client.query(
    `select coalesce(bool_or(region = $3 and (is_former or state <> 'absent')), false) as is_former,
            greatest(max(generation) + coalesce((max(generation) filter (where region = $3) = max(generation))::int, 0), 1)
              as generation, syncline.transfer_refusal($4::oid) is not null as is_refused
       from syncline.transfer where schema_name = $1 and table_name = $2`,
    [schema, name, region, String(oid)],
  );
  const [row] = rows;
  if (wasThere === true || row?.is_former === 't') {
    await sayLeft(client, region, table);
    return false;
  }
  if (row?.is_refused === 't') return false;
  await client.query(
    `insert into syncline.transfer as t (schema_name, table_name, region, generation, state)
     values ($1, $2, $3, $4::bigint, 'published')
         on conflict (schema_name, table_name, region) do update
        set generation = excluded.generation, state = excluded.state, reason = null, sealed_at = null,
            rows_total = null, rows_told = 0, updated_at = excluded.updated_at`,
    [schema, name, region, row?.generation ?? '1'],
  );
  await noteName(client, table);
  return true;
}

/** Says of tables that have another name by now that they left under the one and were published under the other. */
export async function sayRenamed(
  client: PostgresClient,
  region: string,
  members: readonly (Named & { readonly oid: number })[],
): Promise<void> {
  const { rows } = await client.query('select key, value from syncline.meta where starts_with(key, $1)', [NAME_KEY]);
  for (const { key, value } of rows) {
    const table = members.find(({ oid }) => key === `${NAME_KEY}${oid}`);
    if (table !== undefined && value === nameNote(table)) continue;
    const [schema, name] = JSON.parse(value ?? '[]') as [string, string];
    await client.transaction(async () => {
      if (table === undefined) await client.query('delete from syncline.meta where key = $1', [key ?? '']);
      else await rename(client, region, { schema, table: name }, table);
    });
  }
}

async function rename(
  client: PostgresClient,
  region: string,
  from: Named,
  to: Named & { readonly oid: number },
): Promise<void> {
  await noteName(client, to);
  const { rows } = await client.query(
    `select bool_and(state = 'done' or state = 'absent' and not is_former) or bool_or(state = 'refused') as is_over
       from syncline.transfer
      where schema_name = $1 and table_name = $2 and generation =
        (select max(generation) from syncline.transfer where schema_name = $1 and table_name = $2)`,
    [from.schema, from.table],
  );
  if (rows[0]?.is_over !== 'f') return;
  await sayLeft(client, region, from);
  if (!(await sayPublished(client, region, to))) await sayLeft(client, region, to);
}

async function noteName(client: PostgresClient, table: Named & { readonly oid: number }): Promise<void> {
  await client.query(
    'insert into syncline.meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value',
    [`${NAME_KEY}${table.oid}`, nameNote(table)],
  );
}

export async function sayLeft(client: PostgresClient, region: string, { schema, table }: Named): Promise<void> {
  await client.query(
    `insert into syncline.transfer as t (schema_name, table_name, region, generation, state, is_former)
     values ($1, $2, $3, 1, 'absent', true)
         on conflict (schema_name, table_name, region) do update
        set state = 'absent', is_former = true, updated_at = excluded.updated_at`,
    [schema, table, region],
  );
  await client.query('delete from syncline.transfer_hold where rel = $1', [
    `${quoteIdent(schema)}.${quoteIdent(table)}`,
  ]);
}
