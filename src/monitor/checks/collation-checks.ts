// Whether indexes on texts are still in the order in which they were built. An upgrade of the
// operating system can change how a collation sorts; an index built before then misses values that it
// holds, and lets a second one of a unique key in. PostgreSQL keeps the version to tell.

import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { type Finding, listed } from './finding.ts';

const WHY =
  'An index built with the older version can miss a key that it holds, so that a row is applied a second time.';

// The columns of pg_database are read by way of a row's JSON, since PostgreSQL 14 lacks them.
const DATABASE_SQL = `
select datname as name, to_jsonb(d)->>'datcollversion' as built
  from pg_database d where datname = current_database() and to_jsonb(d)->>'datcollversion' is not null`;

const ACTUAL_SQL = `
select pg_database_collation_actual_version(oid) as actual from pg_database where datname = current_database()`;

const COLLATIONS_SQL = `
select c.oid::regcollation::text as name, c.collversion as built, pg_collation_actual_version(c.oid) as actual,
       json_agg(distinct i.indrelid::regclass::text) as tables
  from pg_collation c
  join pg_index i on c.oid = any (i.indcollation)
  join pg_class t on t.oid = i.indrelid and t.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
 where c.collversion <> pg_collation_actual_version(c.oid)
 group by c.oid, c.collversion order by 1`;

export async function checkCollations(client: PostgresClient): Promise<Finding[]> {
  const findings: Finding[] = [];
  const { rows: databases } = await client.query(DATABASE_SQL);
  for (const { name, built } of databases) {
    const { rows } = await client.query(ACTUAL_SQL);
    const actual = rows[0]?.actual;
    if (actual === null || actual === built) continue;
    const database = quoteIdent(name ?? '');
    findings.push({
      code: 'SYN-P041',
      severity: 'warning',
      what: `The collation of the database was version ${built} when indexes were built, and is ${actual} now.`,
      why: WHY,
      fix: `-- as the owner of the database; it locks one table after the other
reindex database ${database};
alter database ${database} refresh collation version;`,
    });
  }
  const { rows: collations } = await client.query(COLLATIONS_SQL);
  for (const { name, built, actual, tables } of collations) {
    const names = JSON.parse(tables ?? '[]') as string[];
    findings.push({
      code: 'SYN-P041',
      severity: 'warning',
      what: `The collation ${name} was version ${built} when it was made, and is ${actual} now; indexes of ${listed(names)} use it.`,
      why: WHY,
      fix: `-- as the owner\n${names.map((each) => `reindex table ${each};`).join('\n')}\nalter collation ${name} refresh version;`,
    });
  }
  return findings;
}
