/**
 * Connects apply to this region's database: one connection that the lane writes over, and one for what is read beside it.
 *
 * A backend of the lane before may still be committing, and would bring a note that the ledger does not know: it is ended
 * before the lane gets its connection, and before anything is read. Where the own stream begins is told before the lane
 * can apply anything: by the database, or at the very first start by capture, while the gates of all links are closed.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ApplySession } from '../apply/lane/applier.ts';
import { SqlApplyPort } from '../apply/sql/sql-apply-port.ts';
import type { Lease } from '../capture/lease.ts';
import { readHistory, type SlotHistory } from '../capture/slot/slot.ts';
import { captureName } from '../capture/tables/publication.ts';
import { hlcFromText } from '../change/hlc.ts';
import type { Snapshot } from '../clock/snapshot.ts';
import { SqlNoteStore } from '../clock/sql-note-store.ts';
import type { Stability } from '../clock/stability.ts';
import type { Config } from '../platform/config.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import { unlessAborted } from '../platform/unless-aborted.ts';
import type { OrphanTally } from './orphan-tally.ts';

const TERMINATE_POLL_MS = 50;

export class ApplySessions {
  readonly #config: Config;
  readonly #lease: Lease;
  readonly #stability: Stability;
  readonly #orphans: OrphanTally;
  readonly #starting: AbortSignal;
  /** What was committed when the own stream began; null before that is known. */
  #began: Snapshot | null = null;

  /** `starting` aborts if the agent ends before its start is over: nothing is waited for then. */
  constructor(config: Config, lease: Lease, stability: Stability, orphans: OrphanTally, starting: AbortSignal) {
    this.#config = config;
    this.#lease = lease;
    this.#stability = stability;
    this.#orphans = orphans;
    this.#starting = starting;
  }

  /** Where the own stream begins. */
  began({ began, begin }: SlotHistory): void {
    this.#stability.beganAt(hlcFromText(began));
    this.#began = begin.snapshot;
  }

  async open(): Promise<ApplySession> {
    const { database, region, apply, conflicts } = this.#config;
    const signal = this.#starting;
    // Whoever was stopped and lost the lease meanwhile may find another agent's lane at work, and its schema upgraded.
    await this.#lease.assertHeld();
    const applicationName = this.#lease.applicationName('apply');
    const client = await connect(database, { applicationName: this.#lease.applicationName('notes'), signal });
    try {
      await endBackends(client, applicationName);
      const history = await readHistory(client);
      if (history !== null) this.began(history);
      const connecting = SqlApplyPort.connect(database, {
        region,
        slot: captureName(region),
        applicationName,
        lockTimeoutMs: apply.lock_timeout_ms,
        hasOrigins: apply.replication_origins,
        began: () => this.#began,
        redact: conflicts.redact,
      });
      const close = (port: SqlApplyPort): void => void port[Symbol.asyncDispose]();
      const port = await unlessAborted(connecting, signal, close);
      signal.addEventListener('abort', () => close(port), { once: true, signal: port.lost });
      return {
        port,
        notes: new SqlNoteStore(client),
        orphans: this.#orphans.finder(client),
        [Symbol.asyncDispose]: async () => {
          await port[Symbol.asyncDispose]();
          await client.end();
        },
      };
    } catch (error) {
      await client.end();
      throw error;
    }
  }
}

/** Resolves once no backend of that name is left. */
async function endBackends(client: PostgresClient, applicationName: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      `select pid, pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = $1`,
      [applicationName],
    );
    if (rows.length === 0) return;
    await delay(TERMINATE_POLL_MS);
  }
}
