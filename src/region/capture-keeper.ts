/**
 * Keeps the capture of this region going, and what is to be told of it.
 *
 * Capture gets over what a new connection mends by itself. It ends with what an operator has to mend; that may be mended
 * while the agent runs, so capture begins anew after a while. Until then the slot keeps everything.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { OwnBaseline } from '../apply/lane/baseline-gate.ts';
import type { BaselineState } from '../capture/baseline.ts';
import { Capture, type CaptureState } from '../capture/capture.ts';
import type { Lease } from '../capture/lease.ts';
import { PUBLISHER_LIMITS } from '../capture/publish/publisher.ts';
import type { OpenedEpoch } from '../capture/session-start.ts';
import type { SlotHistory } from '../capture/slot/slot.ts';
import { captureName, type PublicationReport } from '../capture/tables/publication.ts';
import { REGISTRY_TABLES } from '../change/merge-registry.ts';
import type { Position } from '../change/position.ts';
import type { Delays } from '../change/stream-record.ts';
import type { NotesLedger } from '../clock/notes-ledger.ts';
import type { Stability } from '../clock/stability.ts';
import type { EventLog } from '../log/event-log.ts';
import type { CaptureStatus, Problem } from '../monitor/agent-status.ts';
import { baselineStatus } from '../monitor/baseline-view.ts';
import { toProblem } from '../monitor/link-activity.ts';
import type { Config } from '../platform/config.ts';
import { SynclineError } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';

const BEGIN_AGAIN_MS = 5_000;
/** A log whose bound is small still takes many appends: one that is larger than what was trimmed would never fit. */
const APPENDS_OF_LOG_MIN = 16;

export type CaptureKeeperOptions = {
  readonly config: Config;
  readonly logger: Logger;
  readonly lease: Lease;
  readonly log: EventLog;
  /** The bound of the own stream, where it has one. */
  readonly logBytesMax: number | null;
  readonly ledger: NotesLedger;
  readonly stability: Stability;
  readonly delays: () => Delays;
  readonly neededFrom: () => Promise<number>;
  readonly onStreaming: () => void;
  /** Oids of the tables that are published. */
  readonly onTables: (members: PublicationReport['members']) => void;
  readonly onHistory: (history: SlotHistory) => void;
  /** What this region's tables held where its stream begins is known. */
  readonly onBaseline: (own: OwnBaseline) => void;
};

export class CaptureKeeper {
  readonly #options: CaptureKeeperOptions;
  #capture: Capture | null = null;
  #tableProblems: readonly Problem[] = [];
  /** Stays for as long as the agent runs: nobody else would tell. */
  #slotProblem: Problem | null = null;

  constructor(options: CaptureKeeperOptions) {
    this.#options = options;
  }

  /** Begins at once; after the signal has aborted it does not begin again. */
  start(signal: AbortSignal): void {
    const { config, lease, log, ledger, stability, delays, neededFrom, onHistory } = this.#options;
    const { region, peers, tables } = config;
    const members = [region, ...peers.map((peer) => peer.region)];
    const name = captureName(region);
    this.#capture = Capture.start(
      {
        url: config.database,
        region,
        lease,
        log,
        ledger,
        stability,
        publication: { name, ...tables, always: REGISTRY_TABLES, identity: 'full', transfers: region },
        slot: name,
        baseline: config.baseline,
        heartbeatMs: config.capture.heartbeat_ms,
        members: () => members,
        delays,
        neededFrom,
        limits: { append_bytes_max: this.#appendBytesMax() },
      },
      {
        onState: (state) => this.#onState(state, signal),
        onPublication: (report) => this.#onPublication(report),
        onEpoch: (opened) => this.#onEpoch(opened),
        onHistory,
        onBaseline: (state) => this.#onBaseline(state),
      },
    );
  }

  async stop(): Promise<void> {
    await this.#capture?.stop();
  }

  get isStreaming(): boolean {
    return this.#capture?.state.kind === 'streaming';
  }

  /** The run that counts in the own stream; 0 while there is none. */
  get run(): number {
    return this.#capture?.state.kind === 'streaming' ? this.#capture.state.run : 0;
  }

  /** As in `Capture`. */
  get publishedTo(): Position | null | undefined {
    return this.#capture?.publishedTo;
  }

  /** As in `Capture`. */
  get durableLsn(): bigint | null {
    return this.#capture?.durableLsn ?? null;
  }

  get baseline(): BaselineState {
    return this.#capture?.baseline ?? { kind: 'starting' };
  }

  /** Whether the stream tells the baseline: one that is still to be read needs the stream from its beginning. */
  get isBaselineTold(): boolean {
    return ownBaseline(this.baseline) !== null;
  }

  get tableProblems(): readonly Problem[] {
    return this.#tableProblems;
  }

  get slotProblem(): Problem | null {
    return this.#slotProblem;
  }

  /** Drops records of the own stream below the offset. */
  async trim(offset: number): Promise<void> {
    await this.#capture?.trim(offset);
  }

  status(): CaptureStatus {
    const capture = this.#capture;
    const state = capture?.state ?? { kind: 'starting' };
    const error = capture?.fault ?? null;
    return {
      state: state.kind,
      problem: error === null ? null : toProblem(error, 'SYN-K003'),
      transactions: capture?.counts.transactions ?? 0,
      events: capture?.counts.rows ?? 0,
      pushed: capture?.counts.pushed ?? 0,
      foreign: capture?.counts.foreign ?? 0,
      slot_retained_bytes: capture?.retainedBytes ?? null,
      last_published_at: capture?.lastDurableAtMs == null ? null : new Date(capture.lastDurableAtMs).toISOString(),
    };
  }

  #onState(state: CaptureState, signal: AbortSignal): void {
    const { logger, onStreaming } = this.#options;
    if (state.kind === 'stopped' && state.error !== null) {
      logger.error({ err: state.error }, 'capture has stopped');
      if (state.error instanceof SynclineError && state.error.class === 'config') void this.#startAgain(signal);
    } else if (state.kind === 'retrying') {
      logger.warn({ err: state.error, retry_ms: state.delayMs }, 'capture is interrupted');
    } else logger.info({ state: state.kind }, 'capture');
    if (state.kind === 'streaming') onStreaming();
  }

  async #startAgain(signal: AbortSignal): Promise<void> {
    await delay(BEGIN_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) this.start(signal);
  }

  #onEpoch({ epoch, fork, after, why }: OpenedEpoch): void {
    const { logger } = this.#options;
    if (why === 'restored') {
      logger.warn({ epoch, fork, after }, 'the database is an older copy: what it lacks comes back from the log');
      return;
    }
    const detail = `the slot was made anew behind ${after ?? 'nothing'}: what was removed without it is unknown elsewhere`;
    this.#slotProblem = { code: 'SYN-K025', detail };
    logger.warn({ code: 'SYN-K025', epoch, fork, after }, detail);
  }

  #onPublication(report: PublicationReport): void {
    const { logger, onTables } = this.#options;
    onTables(report.members);
    this.#tableProblems = report.problems.map(({ code, schema, table, detail }) => ({
      code,
      detail,
      table: `${schema}.${table}`,
    }));
    for (const { schema, table, heldRows, resent } of report.added) {
      logger.info({ table: `${schema}.${table}`, rows: resent }, 'the table is published from now on');
      if (heldRows) logger.warn({ table: `${schema}.${table}` }, 'rows that were there before are not sent');
    }
  }

  #onBaseline(state: BaselineState): void {
    const { logger, onBaseline } = this.#options;
    if (state.kind === 'failed') logger.error({ err: state.error }, 'the baseline cannot be read');
    const own = ownBaseline(state);
    if (own === null) return;
    const { rows, tables_total, detail } = baselineStatus(state);
    logger.info({ state: state.kind, rows, tables: tables_total, detail }, 'the stream tells the baseline');
    onBaseline(own);
  }

  #appendBytesMax(): number {
    const { append_bytes_max } = PUBLISHER_LIMITS;
    const { logBytesMax } = this.#options;
    return logBytesMax === null ? append_bytes_max : Math.min(append_bytes_max, logBytesMax / APPENDS_OF_LOG_MIN);
  }
}

/** What the gates are told of the own baseline; null while it is being read. */
function ownBaseline(state: BaselineState): OwnBaseline | null {
  switch (state.kind) {
    case 'known':
    case 'untold':
      return state;
    case 'trusted':
      return { kind: 'unread' };
    case 'starting':
    case 'waiting':
    case 'scanning':
    case 'failed':
      return null;
  }
}
