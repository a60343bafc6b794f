// Brings the `syncline` schema of a database to the version of this agent.
//
// Migrations are the files sql/NNN_*.sql, numbered from 1 without a gap, and what has been released
// is never changed. All that are missing run in one transaction, so a failure leaves the version
// that was there. Two agents may start at once: an advisory lock makes the second wait, and it then
// finds nothing left to do. The version is read after the lock is held, never before.

import { readdir, readFile } from 'node:fs/promises';
import { invariant } from './assert.ts';
import { fail } from './errors.ts';
import type { PostgresClient } from './postgres.ts';

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

export interface MigrationOutcome {
  /** 0 where there was no schema. */
  readonly from: number;
  readonly to: number;
}

const FOLDER = new URL('../../sql/', import.meta.url);
const FILE_PATTERN = /^(\d{3})_.+\.sql$/;
/** Any number will do, as long as every agent takes the same: the letters of SYNCLINE as ASCII. */
const LOCK_KEY = '6005917629024915013';

/** The migrations that this version of Syncline knows, in order. */
export async function knownMigrations(): Promise<Migration[]> {
  const names = (await readdir(FOLDER)).filter((name) => FILE_PATTERN.test(name)).sort();
  return await Promise.all(
    names.map(async (name, place) => {
      const version = Number(FILE_PATTERN.exec(name)?.[1]);
      invariant(version === place + 1, `migrations are numbered without a gap: ${name}`);
      return { version, name, sql: await readFile(new URL(name, FOLDER), 'utf8') };
    }),
  );
}

/**
 * Creates or upgrades the schema; SYN-P015 where it is newer than this agent, SYN-P056 where it is too old, SYN-P011 without
 * the privilege.
 */
export async function migrate(client: PostgresClient, migrations?: readonly Migration[]): Promise<MigrationOutcome> {
  const known = migrations ?? (await knownMigrations());
  return await client.transaction(async () => {
    await client.query('select pg_advisory_xact_lock($1)', [LOCK_KEY]);
    const from = await checkVersion(client, known);
    if (from > 0) await checkBeginning(client);
    const to = newest(known);
    try {
      if (from === 0) await client.query('create schema if not exists syncline');
      for (const { version, sql } of known) if (version > from) await client.query(sql);
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === '42501') {
        throw fail('SYN-P011', `the schema syncline cannot be set up: ${cause.message}`, { cause });
      }
      throw cause;
    }
    if (from < to) {
      await client.query(
        `insert into syncline.meta (key, value) values ('schema_version', $1)
         on conflict (key) do update set value = excluded.value`,
        [String(to)],
      );
    }
    return { from, to };
  });
}

/** The version of the schema, 0 where there is none; SYN-P015 where it is newer than this agent. */
export async function checkVersion(client: PostgresClient, migrations?: readonly Migration[]): Promise<number> {
  const version = await schemaVersion(client);
  const known = newest(migrations ?? (await knownMigrations()));
  if (version <= known) return version;
  const detail = `the schema syncline has version ${version}, and this version of Syncline knows ${known}`;
  throw fail('SYN-P015', detail, { context: { version, known } });
}

/**
 * What was there when a region's stream began is in no stream, and only the snapshot that came with its slot tells which rows
 * those are. A version that did not keep it cannot be followed by one that goes by it, and nobody can tell it afterwards.
 */
async function checkBeginning(client: PostgresClient): Promise<void> {
  const { rows } = await client.query("select key from syncline.meta where key in ('began', 'began_snapshot')");
  if (rows.length !== 1) return;
  throw fail('SYN-P056', 'its stream was begun by a version that kept no snapshot of what was there before');
}

const newest = (migrations: readonly Migration[]): number => migrations.at(-1)?.version ?? 0;

/** The version of the schema in the database; 0 where there is none. */
export async function schemaVersion(client: PostgresClient): Promise<number> {
  const { rows } = await client.query("select to_regclass('syncline.meta') as meta");
  if (rows[0]?.meta === null) return 0;
  const version = await client.query("select value from syncline.meta where key = 'schema_version'");
  return Number(version.rows[0]?.value ?? 0);
}
