/**
 * Writes a heartbeat through the WAL itself, as a transactional logical message.
 *
 * It comes back through the slot in its place between the transactions. So it proves that the whole way from a commit
 * to the log is alive, keeps the slot of an idle database moving, and has a position that says what this region has
 * seen. It is no row, so it touches no table and needs no publication.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Delays } from '../change/stream-record.ts';
import type { PostgresClient } from '../platform/postgres.ts';
import { HEARTBEAT_PREFIX } from './publish/transaction-assembler.ts';

export type HeartbeatOptions = {
  readonly client: PostgresClient;
  readonly periodMs: number;
  /** The membership that this region knows, itself included. */
  readonly members: () => readonly string[];
  /** How long heartbeats of other regions took to be read here. */
  readonly delays: () => Delays;
  /** Is called after each heartbeat. */
  readonly onBeat?: () => void | Promise<void>;
};

/** Beats until the signal aborts; rejects when the database cannot take a heartbeat. */
export async function keepBeating(options: HeartbeatOptions, signal: AbortSignal): Promise<void> {
  const { client, periodMs, members, delays, onBeat } = options;
  while (!signal.aborted) {
    await beat(client, members(), delays());
    await onBeat?.();
    await delay(periodMs, undefined, { signal }).catch(() => undefined);
  }
}

export async function beat(client: PostgresClient, members: readonly string[], delays: Delays): Promise<void> {
  const content = JSON.stringify({ members, delays_ms: delays, merges: true, claims: true });
  await client.query('select pg_logical_emit_message(true, $1::text, $2::text)', [HEARTBEAT_PREFIX, content], {
    prepare: true,
  });
}
