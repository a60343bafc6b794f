// A sample database as it is published: its tables are made in all three regions, its rows are inserted in one of them.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Cluster } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const SCRIPT = join(import.meta.dirname, '../fixtures/chinook/chinook.sql.gz');

const ROWS: readonly (readonly [table: string, rows: string])[] = [
  ['album', '347'],
  ['artist', '275'],
  ['customer', '59'],
  ['employee', '8'],
  ['genre', '25'],
  ['invoice', '412'],
  ['invoice_line', '2240'],
  ['media_type', '5'],
  ['playlist', '18'],
  ['playlist_track', '8715'],
  ['track', '3503'],
];

test('Chinook: made in all regions, filled in one, equal in all', async () => {
  const { definitions, inserts } = await readScript();
  await using cluster = await Cluster.start({ regions: ['eu', 'us', 'ap'], schema: '' });
  for (const region of cluster.regions) await region.sql(definitions.join(';\n'));
  const session = await cluster.region('eu').session();
  for (const statement of inserts) await session.query(statement);
  await session.end();
  // Some tables were so new that they were not published yet when their rows came.
  for (const region of cluster.regions) {
    await waitFor(
      async () =>
        (await region.one(`select count(*) from pg_publication_tables where schemaname = 'public'`)) ===
        String(ROWS.length),
      {
        what: `${region.name} to publish all tables`,
      },
    );
  }
  await cluster.settle();
  for (const [table, rows] of ROWS) {
    const all = await cluster.equal(`select t::text from ${table} t order by t::text collate "C"`);
    assert.equal(String(all.length), rows, table);
  }
  const revenue = 'select billing_country, sum(total) from invoice group by 1 order by 2 desc, 1 limit 2';
  assert.deepEqual(await cluster.equal(revenue), [
    ['USA', '523.06'],
    ['Canada', '303.96'],
  ]);
  for (const region of cluster.regions) assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
});

/** The statements that make tables, keys and indexes, and those that fill them; not those that make the database. */
async function readScript(): Promise<{ definitions: string[]; inserts: string[] }> {
  const script = gunzipSync(await readFile(SCRIPT)).toString('utf8');
  const statements = script
    .replace(/\/\*.*?\*\//gs, '')
    .replace(/^\\c .*$/m, '')
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '' && !/^(drop|create) database/i.test(statement));
  const isInsert = (statement: string): boolean => /^insert/i.test(statement);
  return { definitions: statements.filter((each) => !isInsert(each)), inserts: statements.filter(isInsert) };
}
