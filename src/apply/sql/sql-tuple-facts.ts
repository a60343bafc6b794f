/**
 * Who wrote a tuple, and when, as SQL over a row `t`, without a column of ours.
 *
 * PostgreSQL keeps the commit timestamp of each transaction and its replication origin, and the lane sets both: of an applied
 * tuple they tell the highest stamp of its batch, and the region. Where the lane may not write under an origin, it signs its
 * transactions instead (`syncline.author`), which tells the same two things as long as they matter; see `PRUNE_AUTHORS`.
 * A statement of the lane has the signatures of all that it can meet, also of a tuple that it is to look at again behind a wait: only the
 * lane signs, and it runs one transaction at a time.
 */

/** How a writer is named that has no origin: it is local. */
export const NO_ORIGIN = '0';
/** Begins the name of a writer that signed; what its region is called follows. */
export const AUTHOR_LABEL = 'by ';

/** Whether this very transaction wrote it. */
export const IS_OWN = 't.xmin = pg_current_xact_id()::xid';

export type TupleFacts = {
  /** A timestamp; null where PostgreSQL has none. */
  readonly stamp: string;
  /** A number, or a name that `SqlOrigins` knows. */
  readonly writer: string;
  readonly writerType: 'oid' | 'text';
  /** The place in a guard of a writer that it does not list; 0 is none. */
  readonly unlisted: string;
  /** A quick look at what is old enough for every rule; there is no limit (null) where it cannot be quick. */
  readonly isOlderThan: (limit: string) => string;
};

const COMMITTED = 'pg_xact_commit_timestamp_origin(t.xmin)';
const authored = (column: string): string =>
  `(select a.${column} from syncline.author a where a.tuple_xid = t.xmin limit 1)`;
const AUTHORED_WRITER = `coalesce('${AUTHOR_LABEL}' || ${authored('origin')}, (${COMMITTED}).roident::text)`;
const AUTHORED_STAMP = `coalesce(${authored('stamp')}, (${COMMITTED})."timestamp")`;

export const FACTS_OF_ORIGINS: TupleFacts = {
  stamp: `(${COMMITTED})."timestamp"`,
  writer: `(${COMMITTED}).roident`,
  writerType: 'oid',
  unlisted: '1',
  isOlderThan: (limit) => `pg_xact_commit_timestamp(t.xmin) <= ${limit}`,
};

/** What `syncline.author` says of a transaction goes before what its commit record does. */
export const FACTS_OF_AUTHORS: TupleFacts = {
  stamp: AUTHORED_STAMP,
  writer: AUTHORED_WRITER,
  writerType: 'text',
  unlisted: `coalesce((not starts_with(${AUTHORED_WRITER}, '${AUTHOR_LABEL}'))::int, 1)`,
  isOlderThan: (limit) => `${limit} is not null`,
};

/**
 * Whether a guard admits the tuple, by the parameters $1 to $3 (see `sql-statements.ts`). An origin that the guard does not list is another
 * tool's, and counts as local: the first place.
 */
export function admitted({ stamp, writer, writerType, unlisted, isOlderThan }: TupleFacts): string {
  return `(${isOlderThan('$1::timestamptz')}
    or ${IS_OWN}
    or coalesce(${stamp}, '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::${writerType}[], ${writer}), ${unlisted})])`;
}
