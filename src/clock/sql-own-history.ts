/** What a database knows of its own part of its stream, as `syncline.meta` holds it; and what its commit timestamps tell. */
import { type Position, parsePosition } from '../change/position.ts';
import { OWN_ORIGIN_PREFIX } from '../platform/own-origins.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { OwnHistory } from './own-history.ts';

const OWN_HISTORY = `select key, value from syncline.meta where key in ('epoch', 'lineage', 'fork', 'after')`;

/** $2 the run that was handed out last; null where none was yet. Its row is locked, so that none is handed out meanwhile. */
const SAVE = `
with held as materialized (select run from syncline.lease for share)
insert into syncline.meta (key, value) select key, value from json_each_text($1::json)
where $2::bigint is null or (select run from held) = $2::bigint
on conflict (key) do update set value = excluded.value returning key`;

/**
 * $1 transaction ids, 32 bits. A commit timestamp that is gone because the id is older than all that are kept is told from
 * one that this database never had. Another tool may have given any time, also an infinite one: it is bounded as
 * `boundedMicros` does. What the lane wrote has the stamp of an event for its time, which may be that of the very transaction
 * asked for, or be pushed by it; so it counts as none.
 */
const COMMIT_TIMES = `
select case when t.stamp is not null and not t.is_ours then (extract(epoch from
    least(greatest(t.stamp, '0001-01-01Z'), '9999-12-31 23:59:59.999999Z')) * 1000000)::bigint end as micros,
  w.xid - (o.oldest::text::bigint) as above_oldest
from unnest($1::bigint[]) with ordinality as w(xid, place)
  cross join lateral (
    select c."timestamp" as stamp, c.roident <> 0 and c.roident in (select r.roident from pg_replication_origin r
        where starts_with(r.roname, ${OWN_ORIGIN_PREFIX}))
      or exists (select from syncline.author a where a.tuple_xid = w.xid::text::xid) as is_ours
    from pg_xact_commit_timestamp_origin(w.xid::text::xid) as c) as t,
  (select oldest_commit_ts_xid as oldest from pg_control_checkpoint()) as o
order by w.place`;

const XIDS = 2n ** 32n;

/** Unix µs; `never`: this database has no such commit of its own; `forgotten`: it is too old to tell. */
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
    if (micros != null) return BigInt(micros);
    // Transaction ids go round: what is less than half the circle behind is older.
    const distance = BigInt.asIntN(32, BigInt(above_oldest ?? 0) % XIDS);
    return distance < 0n ? 'forgotten' : 'never';
  });
}
