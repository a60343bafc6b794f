/**
 * Says, in the transaction that publishes a table, that its rows are to be told to the other regions; and, in the one that takes
 * it out, that it has left. What follows from that is done elsewhere (`src/transfer/`); capture knows only these two moments.
 *
 * A table that was published before and left, or was made anew under a name that was published, is told by nobody: rows that were
 * removed here meanwhile are in the other regions under this region's name, and none of them would send them back.
 */
import { type PostgresClient, quoteIdent } from '../platform/postgres.ts';
import { readHistory } from './slot.ts';
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
  return true;
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
