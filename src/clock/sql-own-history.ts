/** What a database knows of its own part of its stream, as `syncline.meta` holds it; and what its commit timestamps tell. */
import { type Position, parsePosition } from '../change/position.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { OwnHistory } from './own-history.ts';

const OWN_HISTORY = `select key, value from syncline.meta where key in ('epoch', 'lineage', 'fork', 'after')`;

/** $2 the run that was handed out last; null where none was yet. Its row is locked, so that none is handed out meanwhile. */
const SAVE = `
with held as materialized (select run from syncline.lease for share)
insert into syncline.meta (key, value) select key, value from json_each_text($1::json)
where $2::bigint is null or (select run from held) = $2::bigint
on conflict (key) do update set value = excluded.value returning key`;

/** 2000-01-01, from where PostgreSQL counts. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;

/**
 * $1 transaction ids, 32 bits. A commit timestamp that is gone because the id is older than all that are kept is told from
 * one that this database never had.
 */
const COMMIT_TIMES = `
select case when isfinite(t.at) then (extract(epoch from t.at) * 1000000)::bigint::text else t.at::text end as micros,
  w.xid - (o.oldest::text::bigint) as above_oldest
from unnest($1::bigint[]) with ordinality as w(xid, place)
cross join lateral (select pg_xact_commit_timestamp(w.xid::text::xid) as at offset 0) as t,
  (select oldest_commit_ts_xid as oldest from pg_control_checkpoint()) as o
order by w.place`;

/** What the server sends in the place of a time that has no end or no beginning; other tools may state such. */
const INFINITE: { readonly [text: string]: CommitTime } = {
  infinity: 2n ** 63n - 1n + POSTGRES_EPOCH_MICROS,
  '-infinity': -(2n ** 63n) + POSTGRES_EPOCH_MICROS,
};

const XIDS = 2n ** 32n;

/** Unix µs; `never`: this database has no such commit; `forgotten`: it is too old to tell. */
export type CommitTime = bigint | 'never' | 'forgotten';

export async function readOwnHistory(client: Queryable): Promise<OwnHistory | null> {
  const { rows } = await client.query(OWN_HISTORY);
  const values = new Map(rows.map(({ key, value }) => [key, value]));
  const epoch = values.get('epoch');
  if (epoch == null) return null;
  const position = (key: string): Position | null => {
    const text = values.get(key) ?? '';
    return text === '' ? null : parsePosition(text);
  };
  const lineage = JSON.parse(values.get('lineage') ?? '[]') as string[];
  return { epoch, lineage: lineage.map(parsePosition), fork: position('fork'), after: position('after') };
}

/** Notes the history that begins; `more` are further values that go with it. False where a later run was handed out. */
export async function saveOwnHistory(
  client: Queryable,
  { epoch, lineage, fork, after }: OwnHistory,
  more: { readonly [key: string]: string },
  run: number | null,
): Promise<boolean> {
  const values = { epoch, lineage: JSON.stringify(lineage), fork: fork ?? '', after: after ?? '', ...more };
  const { rows } = await client.query(SAVE, [JSON.stringify(values), run === null ? null : String(run)]);
  return rows.length > 0;
}

export async function readCommitTimes(client: Queryable, xids: readonly number[]): Promise<CommitTime[]> {
  const { rows } = await client.query(COMMIT_TIMES, [`{${xids.join(',')}}`]);
  return rows.map(({ micros, above_oldest }) => {
    if (micros != null) return INFINITE[micros] ?? BigInt(micros);
    // Transaction ids go round: what is less than half the circle behind is older.
    const distance = BigInt.asIntN(32, BigInt(above_oldest ?? 0) % XIDS);
    return distance < 0n ? 'forgotten' : 'never';
  });
}
