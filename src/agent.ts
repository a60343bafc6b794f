/**
 * One region: everything that its agent does, put together. Capture publishes what this database commits; apply writes
 * what the others published; both meet in the log and in the clock's ledger. This is the only place that names a
 * concrete log.
 *
 * The order of a start is part of correctness. The lease comes first, so that no other agent of this region is at work.
 * Then apply reads what was noted, because capture must not stamp a transaction before the ledger knows every note; and
 * only then capture takes the slot.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Applier, type ApplySession } from './apply/applier.ts';
import { SqlApplyPort } from './apply/sql-apply-port.ts';
import { Capture, type CaptureState } from './capture/capture.ts';
import { Lease } from './capture/lease.ts';
import { captureName, type PublicationReport } from './capture/publication.ts';
import { PUBLISHER_LIMITS } from './capture/publisher.ts';
import { readHistory } from './capture/slot.ts';
import { hlcFromText } from './change/hlc.ts';
import { NotesLedger } from './clock/notes-ledger.ts';
import { SqlNoteStore } from './clock/sql-note-store.ts';
import { Stability } from './clock/stability.ts';
import { EmbeddedLog } from './log/embedded-log.ts';
import type { EventLog } from './log/event-log.ts';
import { Retention } from './log/retention.ts';
import type {
  AgentControl,
  AgentStatus,
  CaptureStatus,
  LinkPolicy,
  Problem,
  ReplicationLink,
} from './monitor/agent-status.ts';
import { dropOldConflicts } from './monitor/conflict-retention.ts';
import { LinkActivity, toProblem } from './monitor/link-activity.ts';
import { checkPrerequisites } from './monitor/prerequisites.ts';
import { Backoff } from './platform/backoff.ts';
import type { Config } from './platform/config.ts';
import { fail, SynclineError } from './platform/errors.ts';
import type { Logger } from './platform/logger.ts';
import { migrate } from './platform/migrations.ts';
import { arrayText, connect } from './platform/postgres.ts';
import { systemRandom } from './platform/random.ts';
import type { RunState } from './platform/run-loop.ts';
import { type Queryable, StandingConnection } from './platform/standing-connection.ts';
import { isTableIncluded } from './platform/table-filter.ts';
import { SequenceKeeper } from './sequences/sequence-keeper.ts';
import { LinkStore, linkId } from './topology/link-store.ts';

const MS_PER_HOUR = 3_600_000;
const TRIM_PERIOD_MS = 5_000;
const RETENTION_PERIOD_MS = 60_000;
const CAPTURE_AGAIN_MS = 5_000;
const TERMINATE_POLL_MS = 50;
/** A log whose bound is small still takes many appends: one that is larger than what was trimmed would never fit. */
const APPENDS_OF_LOG_MIN = 16;

export class Agent implements AgentControl, AsyncDisposable {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #lease: Lease;
  readonly #control: StandingConnection;
  readonly #links: LinkStore;
  readonly #log: EmbeddedLog;
  readonly #peerLogs: ReadonlyMap<string, EmbeddedLog>;
  readonly #stability: Stability;
  readonly #applier: Applier;
  /** Null where sequences are left as they are. */
  readonly #sequences: SequenceKeeper | null;
  readonly #retention: Retention;
  readonly #activities = new Map<string, LinkActivity>();
  readonly #startedAt = new Date();
  readonly #stopping = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #capture: Capture | null = null;
  #applying: Promise<void> = Promise.resolve();
  #applyState: RunState = { kind: 'waiting', error: null, attempt: 0, delayMs: 0 };
  #applyRestarts = -1;
  #batches = 0;
  #quarantined = new Map<string, number>();
  #problems: readonly Problem[] = [];
  #logBytes = 0;
  #nextRetentionMs = 0;
  #upkeep: Promise<unknown> = Promise.resolve();

  private constructor(config: Config, logger: Logger, parts: Parts) {
    this.#config = config;
    this.#logger = logger;
    this.#lease = parts.lease;
    this.#control = parts.control;
    this.#links = parts.links;
    this.#log = parts.log;
    this.#peerLogs = parts.peerLogs;
    const peers = config.peers.map((peer) => peer.region);
    for (const peer of peers) this.#activities.set(peer, new LinkActivity());
    this.#activities.set(config.region, new LinkActivity());
    this.#stability = new Stability(config.region, peers);
    this.#retention = new Retention(config.log.keep_hours * MS_PER_HOUR, config.log.max_bytes);
    this.#applier = this.#makeApplier(peers, parts.ledger);
    const { interleave } = config.sequences;
    const applicationName = parts.lease.applicationName('sequences');
    this.#sequences =
      interleave === undefined
        ? null
        : new SequenceKeeper({ url: config.database, applicationName, interleave, logger });
  }

  /**
   * Resolves once the agent captures and applies; rejects with what the operator has to mend. A database that is away is
   * waited for, since machines start their services in any order; the signal ends that.
   */
  static async start(config: Config, logger: Logger, signal?: AbortSignal): Promise<Agent> {
    const backoff = new Backoff({ random: systemRandom });
    for (;;) {
      try {
        return await Agent.#startOnce(config, logger);
      } catch (error) {
        if (!(error instanceof SynclineError && error.code === 'SYN-P009') || signal?.aborted === true) throw error;
        const retry_ms = backoff.nextMs();
        logger.warn({ err: error, retry_ms }, 'the agent cannot start yet');
        await delay(retry_ms, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  static async #startOnce(config: Config, logger: Logger): Promise<Agent> {
    const client = await connect(config.database, { applicationName: `syncline ${config.region} start` });
    try {
      await checkPrerequisites(client, config);
      await migrate(client);
    } finally {
      await client.end();
    }
    await using resources = new AsyncDisposableStack();
    const slot = captureName(config.region);
    const lease = resources.use(await Lease.acquire({ url: config.database, region: config.region, slot }));
    const applicationName = lease.applicationName('control');
    const control = resources.use(new StandingConnection(config.database, { applicationName }));
    const links = resources.use(new LinkStore(control, config.region));
    await links.open(config.peers.map((peer) => peer.region));
    const log = resources.use(await EmbeddedLog.open(config.log.path, { max_bytes: config.log.max_bytes }));
    const peerLogs = new Map<string, EmbeddedLog>();
    for (const { log: peerLog } of config.peers) {
      if (peerLog === undefined || peerLog.path === config.log.path || peerLogs.has(peerLog.path)) continue;
      peerLogs.set(peerLog.path, resources.use(await EmbeddedLog.open(peerLog.path)));
    }
    const ledger = new NotesLedger();
    const agent = new Agent(config, logger, { lease, control, links, log, peerLogs, ledger });
    await agent.#run(ledger);
    // From here on the agent gives them back.
    resources.move();
    return agent;
  }

  /** Resolves when the agent was stopped; rejects when it cannot go on. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  status(): AgentStatus {
    const links = this.#config.peers.map((peer) => this.#link(peer.region));
    const capture = this.#captureStatus();
    const applyError = 'error' in this.#applyState ? this.#applyState.error : null;
    const conflicts_by_table: { [table: string]: number } = {};
    for (const { conflictsByTable } of this.#activities.values()) {
      for (const [table, count] of conflictsByTable)
        conflicts_by_table[table] = (conflicts_by_table[table] ?? 0) + count;
    }
    const problems: Problem[] = [...this.#problems, ...(this.#sequences?.problems ?? [])];
    for (const link of links) if (link.reason !== null) problems.push(link.reason);
    return {
      region: this.#config.region,
      run: this.#capture?.state.kind === 'streaming' ? this.#capture.state.run : 0,
      started_at: this.#startedAt.toISOString(),
      ready: capture.state === 'streaming' && this.#applyState.kind === 'running',
      capture,
      apply: {
        state: applyState(this.#applyState),
        problem: applyError === null ? null : toProblem(applyError),
        batches: this.#batches,
        restarts: Math.max(0, this.#applyRestarts),
      },
      links,
      conflicts_by_table,
      log: { bytes: this.#logBytes, bytes_max: this.#config.log.max_bytes },
      problems,
    };
  }

  async patchLink(id: string, patch: { status?: 'paused' | 'active' } & Partial<LinkPolicy>): Promise<ReplicationLink> {
    const link = await this.#links.patch(id, patch);
    return this.#link(link.source_region);
  }

  async retryQuarantined(
    eventIds: readonly string[],
  ): Promise<{ event_id: string; applied: boolean; error: string | null }[]> {
    const outcomes = new Map((await this.#applier.retry(eventIds)).map(({ event_id, error }) => [event_id, error]));
    await this.#countQuarantine();
    return eventIds.map((event_id) => {
      if (!outcomes.has(event_id)) {
        return { event_id, applied: false, error: 'there is no such event in the quarantine' };
      }
      const error = outcomes.get(event_id) ?? null;
      return { event_id, applied: error === null, error: error === null ? null : toProblem(error, 'SYN-A001').detail };
    });
  }

  async discardQuarantined(eventIds: readonly string[]): Promise<number> {
    const { rows } = await this.#control.query(
      'select count(*) as known from syncline.quarantine where event_id = any ($1::uuid[])',
      [arrayText(eventIds)],
    );
    await this.#applier.discard(eventIds);
    await this.#countQuarantine();
    return Number(rows[0]?.known ?? 0);
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    await this.#capture?.stop();
    await this.#applying.catch(() => undefined);
    await this.#upkeep;
    await this.#links[Symbol.asyncDispose]();
    for (const log of this.#peerLogs.values()) await log[Symbol.asyncDispose]();
    await this.#log[Symbol.asyncDispose]();
    await this.#control[Symbol.asyncDispose]();
    await this.#lease[Symbol.asyncDispose]();
    this.#ended.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(ledger: NotesLedger): Promise<void> {
    const { region, peers, tables, capture, database, log } = this.#config;
    this.#applying = this.#applier.run(this.#stopping.signal);
    this.#applying.catch((error: unknown) => this.#end(error));
    await Promise.race([this.#applier.opened, this.#applying]);
    const members = [region, ...peers.map((peer) => peer.region)];
    const name = captureName(region);
    const start = (): Capture =>
      Capture.start(
        {
          url: database,
          region,
          lease: this.#lease,
          log: this.#log,
          ledger,
          stability: this.#stability,
          publication: { name, ...tables, identity: 'full' },
          slot: name,
          heartbeatMs: capture.heartbeat_ms,
          members: () => members,
          neededFrom: async () => await this.#neededFrom(),
          limits: { append_bytes_max: Math.min(PUBLISHER_LIMITS.append_bytes_max, log.max_bytes / APPENDS_OF_LOG_MIN) },
        },
        {
          onState: (state) => this.#onCaptureState(state, start),
          onPublication: (report) => this.#onPublication(report),
          onEpoch: ({ epoch, fork, after, why }) => {
            const message =
              why === 'restored'
                ? 'the database is an older copy: what it lacks comes back from the log'
                : 'the slot was made anew: what was removed, or applied by another tool, without it stays unknown to the others';
            this.#logger.warn({ epoch, fork, after }, message);
          },
        },
      );
    this.#capture = start();
    this.#lease.lost.addEventListener('abort', () => this.#end(this.#lease.lost.reason), { once: true });
    this.#upkeep = Promise.all([this.#keepUp(), this.#sequences?.run(this.#stopping.signal)]);
  }

  #onCaptureState(state: CaptureState, start: () => Capture): void {
    if (state.kind === 'stopped' && state.error !== null) {
      this.#logger.error({ err: state.error }, 'capture has stopped');
      // What an operator has to mend may be mended while the agent runs; until then the slot keeps everything.
      if (state.error instanceof SynclineError && state.error.class === 'config') void this.#captureAgain(start);
    } else if (state.kind === 'retrying') {
      this.#logger.warn({ err: state.error, retry_ms: state.delayMs }, 'capture is interrupted');
    } else this.#logger.info({ state: state.kind }, 'capture');
    // The very first start makes the history while apply is at work already.
    if (state.kind === 'streaming') void this.#learnHistory(this.#control).catch((error: unknown) => this.#end(error));
  }

  async #captureAgain(start: () => Capture): Promise<void> {
    const { signal } = this.#stopping;
    await delay(CAPTURE_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) this.#capture = start();
  }

  #onPublication(report: PublicationReport): void {
    this.#sequences?.publish(report.members);
    this.#problems = report.problems.map(({ code, schema, table, detail }) => ({
      code,
      detail,
      table: `${schema}.${table}`,
    }));
    for (const { schema, table, heldRows, resent } of report.added) {
      this.#logger.info({ table: `${schema}.${table}`, rows: resent }, 'the table is published from now on');
      if (heldRows) this.#logger.warn({ table: `${schema}.${table}` }, 'rows that were there before are not sent');
    }
  }

  #captureStatus(): CaptureStatus {
    const capture = this.#capture;
    const state = capture?.state ?? { kind: 'starting' };
    const error = 'error' in state ? state.error : null;
    return {
      state: state.kind,
      problem: error === null ? null : toProblem(error, 'SYN-K003'),
      transactions: capture?.counts.transactions ?? 0,
      events: capture?.counts.rows ?? 0,
      slot_retained_bytes: capture?.retainedBytes ?? null,
      last_published_at: capture?.lastDurableAtMs == null ? null : new Date(capture.lastDurableAtMs).toISOString(),
    };
  }

  /** The agent cannot go on: whoever started it is told why. */
  #end(error: unknown): void {
    if (!this.#stopping.signal.aborted) this.#ended.reject(error);
  }

  #makeApplier(peers: readonly string[], ledger: NotesLedger): Applier {
    const { region, apply, tables } = this.#config;
    return new Applier({
      region,
      peers,
      logOf: (origin) => this.#logOf(origin),
      openSession: async () => await this.#openSession(),
      ledger,
      stability: this.#stability,
      batchRowsMax: apply.batch_rows_max,
      causalWaitMs: apply.causal_wait_ms,
      onError: apply.on_error,
      isReplicated: (schema, table) => isTableIncluded(tables, schema, table),
      isPaused: (origin) => this.#isPaused(origin),
      confirmedLsn: () => this.#capture?.durableLsn ?? 0n,
      onState: (state) => this.#onApplyState(state),
      onApplied: (report) => {
        this.#batches += 1;
        this.#activities.get(report.origin)?.applied(report);
        if (report.quarantined > 0) {
          this.#logger.warn({ origin: report.origin, events: report.quarantined }, 'events were quarantined');
          void this.#countQuarantine();
        }
      },
      onBatch: (origin, items) => {
        const activity = this.#activities.get(origin);
        activity?.batch(items, Date.now());
        const acked = activity?.lastAckedEventId ?? null;
        if (origin !== region && acked !== null) this.#links.acknowledged(linkId(origin, region), acked);
      },
      onFault: (origin, error) => {
        const activity = this.#activities.get(origin);
        if (activity !== undefined) activity.fault = error === null ? null : toProblem(error, 'SYN-A001');
        if (error !== null) this.#logger.error({ origin, err: error }, 'a link stands still');
      },
    });
  }

  /** A connection for the lane. A backend of the one before may still be committing: it is ended first. */
  async #openSession(): Promise<ApplySession> {
    const { database, region, apply } = this.#config;
    const applicationName = this.#lease.applicationName('apply');
    const client = await connect(database, { applicationName: this.#lease.applicationName('notes') });
    try {
      for (;;) {
        const { rows } = await client.query(
          `select pid, pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = $1`,
          [applicationName],
        );
        if (rows.length === 0) break;
        await delay(TERMINATE_POLL_MS);
      }
      await this.#learnHistory(client);
      const port = await SqlApplyPort.connect(database, {
        region,
        applicationName,
        synchronousCommit: 'local',
        lockTimeoutMs: apply.lock_timeout_ms,
      });
      return {
        port,
        notes: new SqlNoteStore(client),
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

  async #learnHistory(database: Queryable): Promise<void> {
    const history = await readHistory(database);
    if (history !== null) this.#stability.beganAt(hlcFromText(history.began));
  }

  #onApplyState(state: RunState): void {
    this.#applyState = state;
    if (state.kind === 'running') this.#applyRestarts += 1;
    if (state.kind === 'waiting')
      this.#logger.warn({ err: state.error, retry_ms: state.delayMs }, 'apply is interrupted');
  }

  #logOf(origin: string): EventLog {
    const path = this.#config.peers.find((peer) => peer.region === origin)?.log?.path;
    if (path === undefined || path === this.#config.log.path) return this.#log;
    const log = this.#peerLogs.get(path);
    if (log === undefined) throw fail('SYN-L002', `the log of ${origin} at ${path} is not open`);
    return log;
  }

  #isPaused(origin: string): boolean {
    if (origin === this.#config.region) return false;
    return this.#links.link(linkId(origin, this.#config.region)).status === 'paused';
  }

  #link(source: string): ReplicationLink {
    const stored = this.#links.link(linkId(source, this.#config.region));
    const activity = this.#activities.get(source);
    const waiting = this.#applier.waiting(source);
    const quarantined = this.#quarantined.get(source) ?? 0;
    const lag = activity?.lag.percentiles([0.5, 0.99]) ?? null;
    const reason = activity?.fault ?? (quarantined === 0 ? null : quarantineProblem(source, quarantined));
    return {
      ...stored,
      status: stored.status === 'active' && reason !== null ? 'degraded' : stored.status,
      reason,
      lag_ms: waiting.oldest === null ? 0 : Math.max(0, Date.now() - Date.parse(waiting.oldest)),
      lag_p50_ms: lag?.[0] ?? null,
      lag_p99_ms: lag?.[1] ?? null,
      last_heard_at: activity?.lastHeardAt ?? null,
      events_applied: activity?.events ?? 0,
      events_waiting: waiting.events,
      conflicts: activity?.conflicts ?? 0,
      quarantined,
    };
  }

  /** What is done now and then: counting the quarantine, and giving back what no link needs any more. */
  async #keepUp(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#countQuarantine();
        await this.#trim();
        await this.#dropOldConflicts();
      } catch (error) {
        this.#logger.warn({ err: error }, 'upkeep is put off');
      }
      await delay(TRIM_PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #dropOldConflicts(): Promise<void> {
    if (Date.now() < this.#nextRetentionMs) return;
    this.#nextRetentionMs = Date.now() + RETENTION_PERIOD_MS;
    const records = await dropOldConflicts(this.#control, this.#config.conflicts);
    if (records > 0) this.#logger.info({ records }, 'old records of the conflict log were dropped');
  }

  async #countQuarantine(): Promise<void> {
    const { rows } = await this.#control.query(
      'select origin, count(*) as events from syncline.quarantine group by origin',
    );
    this.#quarantined = new Map(rows.map((row) => [String(row.origin), Number(row.events)]));
  }

  /** Trims the own stream, and measures it. */
  async #trim(): Promise<void> {
    const { region } = this.#config;
    const neededFrom = await this.#neededFrom();
    if (neededFrom > 0) await this.#capture?.trim(neededFrom);
    await using reader = await this.#log.reader(region);
    this.#logBytes = await reader.sizeBytes();
  }

  /**
   * Below it every region that reads the own stream, this one included, has acknowledged everything, for as long as a stream
   * is kept beyond that.
   */
  async #neededFrom(): Promise<number> {
    const { region, peers } = this.#config;
    const acknowledged = await this.#log.acknowledged(region);
    // A database that was restored needs again what it had acknowledged before: its own mark tells.
    const own = (this.#applier.mark(region)?.log_offset ?? 1) - 1;
    const needed = Math.min(own, ...peers.map((peer) => acknowledged.get(peer.region) ?? 0));
    await using reader = await this.#log.reader(region);
    return this.#retention.trimTo(needed, await reader.sizeBytes(), Date.now());
  }
}

type Parts = {
  readonly lease: Lease;
  readonly control: StandingConnection;
  readonly links: LinkStore;
  readonly log: EmbeddedLog;
  readonly peerLogs: ReadonlyMap<string, EmbeddedLog>;
  readonly ledger: NotesLedger;
};

function applyState(state: RunState): AgentStatus['apply']['state'] {
  switch (state.kind) {
    case 'running':
      return 'running';
    case 'waiting':
      return state.error === null ? 'starting' : 'retrying';
    case 'failed':
    case 'ended':
      return 'stopped';
  }
}

function quarantineProblem(source: string, events: number): Problem {
  return { code: 'SYN-A001', detail: `${events} event(s) of ${source} wait in the quarantine` };
}
