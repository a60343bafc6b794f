/**
 * Rows that a new table holds when it comes into the publication, where they cannot be told one by one (`late-tables.ts`).
 *
 * A table is published shortly after it was made, and users write to it at once: what they committed in between is in no
 * stream. Such rows are told from those of the baseline by their commit timestamps, which are not below the beginning of
 * the region's history. They are written once more, in the transaction that publishes the table and holds its writers
 * off, and so reach the stream as they are now; nothing can fall in between. What apply wrote there came from a stream
 * and is left alone.
 *
 * A table with rows from before the history is no new one: its rows may differ from region to region, and nothing of it
 * is written. One with very many rows would keep its writers waiting for too long. And where the lane has ever written without replication
 * origins, rows do not tell for long who wrote them, and what was applied here would come as new. All three are told to the operator.
 */
import { type Hlc, hlcMicros } from '../../change/hlc.ts';
import { ownOriginPrefix } from '../../platform/own-origins.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { writeAsReplica } from '../../platform/replica-role.ts';

/** Written in about a second. */
const LATE_ROWS_MAX = 100_000;

/** What became of the rows that a table held. */
export type HeldRows = {
  /** Rows that were written once more. */
  readonly resent: number;
  /** Whether rows stay that are in no stream. */
  readonly unsent: boolean;
};

/** A column that an UPDATE can set to what it is, one of the key if there is one. */
const SETTABLE_COLUMN_SQL = `
select a.attname
  from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
 where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
 order by coalesce(a.attnum = any (i.indkey), false) desc, a.attnum limit 1`;

/**
 * Sends what the table holds, where it is new; `relation` is its quoted name, with ONLY where that is needed. Runs in the
 * transaction that has locked the table against writers and published it. `began` is the start of the region's history.
 */
export async function resendLateRows(
  client: PostgresClient,
  relation: string,
  oid: number,
  began: Hlc,
): Promise<HeldRows> {
  const { rows: counted } = await client.query(
    `select count(*) as held from (select from ${relation} limit ${LATE_ROWS_MAX + 1}) as t`,
  );
  const held = Number(counted[0]?.held ?? 0);
  if (held === 0) return { resent: 0, unsent: false };
  const { rows: signed } = await client.query("select from syncline.meta where key = 'signed'");
  if (signed.length > 0) return { resent: 0, unsent: true };
  const { rows: columns } = await client.query(SETTABLE_COLUMN_SQL, [String(oid)]);
  const column = columns[0]?.attname;
  if (held > LATE_ROWS_MAX || column == null) return { resent: 0, unsent: true };
  const beganAt = String(hlcMicros(began));
  const { rows: older } = await client.query(
    `select exists (select from ${relation} as t where coalesce(pg_xact_commit_timestamp(t.xmin), '-infinity')
        < timestamptz 'epoch' + $1::bigint * interval '1 microsecond') as found`,
    [beganAt],
  );
  if (older[0]?.found === 't') return { resent: 0, unsent: true };
  // It is the agent that writes: triggers of users have fired for these rows before.
  await writeAsReplica(client, 'transaction');
  const set = quoteIdent(column);
  const { rowCount } = await client.query(
    `update ${relation} as t set ${set} = t.${set}
      where (pg_xact_commit_timestamp_origin(t.xmin)).roident not in
        (select roident from pg_replication_origin where starts_with(roname, $1))`,
    [await ownOriginPrefix(client)],
  );
  return { resent: rowCount, unsent: false };
}
