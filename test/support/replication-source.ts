// A database that is read through logical replication: one table with full identity, a publication,
// a slot named after the database, and a session to write with.

import assert from 'node:assert/strict';
import type { CommitMessage, PgoutputMessage } from '../../src/capture/stream/pgoutput-messages.ts';
import { ReplicationConnection, type StartOptions } from '../../src/capture/stream/replication-connection.ts';
import type { ReplicationStream } from '../../src/capture/stream/replication-stream.ts';
import { type ErrorCode, SynclineError } from '../../src/platform/errors.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import type { PostgresServer } from './postgres-server.ts';

type SlotColumn = 'confirmed_flush_lsn' | 'active_pid' | 'wal_status';

export class ReplicationSource implements AsyncDisposable {
  readonly url: string;
  readonly slot: string;
  readonly sql: PostgresClient;

  private constructor(url: string, slot: string, sql: PostgresClient) {
    this.url = url;
    this.slot = slot;
    this.sql = sql;
  }

  static async make(server: PostgresServer): Promise<ReplicationSource> {
    const database = await server.createDatabase();
    const url = server.url(database);
    const sql = await connect(url, { applicationName: 'test' });
    await sql.query('create table public.t (id int primary key, note text)');
    await sql.query('alter table public.t replica identity full');
    await sql.query('create publication p for table public.t');
    await using connection = await ReplicationConnection.connect({ url });
    await connection.createSlot({ slot: database, snapshot: 'none' });
    return new ReplicationSource(url, database, sql);
  }

  async insert(...ids: readonly number[]): Promise<void> {
    await this.sql.query(`insert into public.t values ${ids.map((id) => `(${id}, 'note ${id}')`).join(', ')}`);
  }

  async stream(connection: ReplicationConnection, options: Partial<StartOptions> = {}): Promise<ReplicationStream> {
    return await connection.start({ slot: this.slot, publications: ['p'], ...options });
  }

  async slotColumn(column: SlotColumn): Promise<string | null> {
    const sql = `select ${column} from pg_replication_slots where slot_name = $1`;
    return (await this.sql.query(sql, [this.slot])).rows[0]?.[column] ?? null;
  }

  /** When the server last heard from the connection of that application name. */
  async replyTime(applicationName: string): Promise<string | null> {
    const sql = 'select reply_time from pg_stat_replication where application_name = $1';
    return (await this.sql.query(sql, [applicationName])).rows[0]?.reply_time ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end();
  }
}

/**
 * Reads up to and including the given number of commits, and leaves the stream open. Transactions without anything in them are
 * left out: PostgreSQL 14 sends them too.
 */
export async function readCommits(stream: ReplicationStream, count: number): Promise<PgoutputMessage[]> {
  const messages: PgoutputMessage[] = [];
  let commits = 0;
  for await (const item of stream) {
    if (item.kind === 'keepalive') continue;
    if (item.kind === 'commit' && messages.at(-1)?.kind === 'begin') {
      messages.pop();
      continue;
    }
    messages.push(item);
    if (item.kind === 'commit') commits += 1;
    if (commits === count) break;
  }
  return messages;
}

/** Reads until the stream is stopped, or throws what ended it. */
export async function readToEnd(stream: ReplicationStream): Promise<PgoutputMessage[]> {
  const messages: PgoutputMessage[] = [];
  for await (const item of stream) if (item.kind !== 'keepalive') messages.push(item);
  return messages;
}

export function commitsOf(messages: readonly PgoutputMessage[]): CommitMessage[] {
  return messages.filter((message) => message.kind === 'commit');
}

/** The ids of the inserted rows. */
export function idsOf(messages: readonly PgoutputMessage[]): unknown[] {
  return messages.filter((message) => message.kind === 'insert').map((message) => message.new[0]);
}

/** A check for assert.rejects and assert.throws. */
export function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SynclineError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}
