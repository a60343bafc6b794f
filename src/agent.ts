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
import { type GateVerdict, isOpen, type OwnBaseline } from './apply/baseline-gate.ts';
import { BaselineGates } from './apply/baseline-gates.ts';
import type { LaneItem } from './apply/lane-item.ts';
import type { LeadLimits } from './apply/lead-gate.ts';
import { type Reapplied, writeLoser } from './apply/loser-write.ts';
import { OrphanFinder } from './apply/orphan-finder.ts';
import { SqlApplyPort } from './apply/sql-apply-port.ts';
import type { BaselineState } from './capture/baseline.ts';
import { Capture, type CaptureState } from './capture/capture.ts';
import { Lease } from './capture/lease.ts';
import { discardParked, editParked } from './capture/parked-decisions.ts';
import { captureName, type PublicationReport } from './capture/publication.ts';
import { PUBLISHER_LIMITS } from './capture/publisher.ts';
import type { OpenedEpoch } from './capture/session-start.ts';
import { readHistory, type SlotHistory } from './capture/slot.ts';
import type { ChangeEvent, Image } from './change/change-event.ts';
import { hlcFromText } from './change/hlc.ts';
import { isRegistryTable, REGISTRY_TABLES } from './change/merge-registry.ts';
import { positionEpoch } from './change/position.ts';
import type { Delays } from './change/stream-record.ts';
import { NotesLedger } from './clock/notes-ledger.ts';
import type { Snapshot } from './clock/snapshot.ts';
import { SqlNoteStore } from './clock/sql-note-store.ts';
import { readOwnHistory } from './clock/sql-own-history.ts';
import { Stability } from './clock/stability.ts';
import { RegionLogs } from './log/region-logs.ts';
import { readKnownMerges } from './merge/lane-merges.ts';
import type { FunctionCheck } from './merge/merge-definition.ts';
import { MergeKeeper } from './merge/merge-keeper.ts';
import { MergeRegistry } from './merge/merge-registry.ts';
import type {
  AgentControl,
  AgentStatus,
  CaptureStatus,
  LinkPolicy,
  Problem,
  ReplicationLink,
} from './monitor/agent-status.ts';
import { baselineStatus, linkBaseline } from './monitor/baseline-view.ts';
import { dropOldConflicts } from './monitor/conflict-retention.ts';
import type { Finding } from './monitor/finding.ts';
import { LinkActivity, toProblem } from './monitor/link-activity.ts';
import { checkPrerequisites } from './monitor/prerequisites.ts';
import { Backoff } from './platform/backoff.ts';
import type { Config } from './platform/config.ts';
import { SynclineError } from './platform/errors.ts';
import type { Logger } from './platform/logger.ts';
import { migrate } from './platform/migrations.ts';
import { arrayText, connect, type PostgresClient } from './platform/postgres.ts';
import { systemRandom } from './platform/random.ts';
import type { RunState } from './platform/run-loop.ts';
import { type Queryable, StandingConnection } from './platform/standing-connection.ts';
import { isTableIncluded } from './platform/table-filter.ts';
import { MergeSandbox } from './resolve/merge-sandbox.ts';
import { SequenceKeeper } from './sequences/sequence-keeper.ts';
import { LinkStore, linkId } from './topology/link-store.ts';

const TRIM_PERIOD_MS = 5_000;
const RETENTION_PERIOD_MS = 60_000;
const KEPT_PERIOD_MS = 15_000;
const CAPTURE_AGAIN_MS = 5_000;
const TERMINATE_POLL_MS = 50;
/** A request has ten seconds. */
const REAPPLY_MS_MAX = 8_000;
const REAPPLY_LOCK_MS_MAX = 3_000;
/** A log whose bound is small still takes many appends: one that is larger than what was trimmed would never fit. */
const APPENDS_OF_LOG_MIN = 16;

export class Agent implements AgentControl, AsyncDisposable {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #lease: Lease;
  readonly #control: StandingConnection;
  readonly #links: LinkStore;
  readonly #logs: RegionLogs;
  readonly #stability: Stability;
  readonly #applier: Applier;
  /** Null where sequences are left as they are. */
  readonly #sequences: SequenceKeeper | null;
  readonly merges: MergeRegistry;
  readonly #mergeKeeper: MergeKeeper;
  /** Runs merge functions; its thread starts with the first call. */
  readonly #sandbox = new MergeSandbox();
  readonly #gates: BaselineGates;
  readonly #joined: ReadonlySet<string>;
  readonly #activities = new Map<string, LinkActivity>();
  readonly #startedAt = new Date();
  readonly #stopping = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #capture: Capture | null = null;
  /** What was committed when the own stream began; null before that is known. */
  #began: Snapshot | null = null;
  #applying: Promise<void> = Promise.resolve();
  #applyState: RunState = { kind: 'waiting', error: null, attempt: 0, delayMs: 0 };
  #applyRestarts = -1;
  #batches = 0;
  #quarantined = new Map<string, number>();
  #parked: Readonly<Record<string, number>> = {};
  readonly #orphans: Record<string, number> = {};
  /** By foreign key, why its orphans are not all found. */
  readonly #orphansMissed = new Map<string, Problem>();
  #problems: readonly Problem[] = [];
  /** Stays for as long as the agent runs: nobody else would tell. */
  #slotProblem: Problem | null = null;
  #logBytes = 0;
  /** By peer, how long its stream still keeps what is next here. */
  readonly #keptMs = new Map<string, number | null>();
  #nextKeptMs = 0;
  #nextRetentionMs = 0;
  #upkeep: Promise<unknown> = Promise.resolve();
  #gating: Promise<void> = Promise.resolve();

  private constructor(config: Config, logger: Logger, parts: Parts) {
    this.#config = config;
    this.#logger = logger;
    this.#lease = parts.lease;
    this.#control = parts.control;
    this.#links = parts.links;
    this.#logs = parts.logs;
    const peers = config.peers.map((peer) => peer.region);
    for (const peer of peers) this.#activities.set(peer, new LinkActivity());
    this.#activities.set(config.region, new LinkActivity());
    this.#stability = new Stability(config.region, peers);
    this.#joined = parts.joined;
    this.#gates = this.#makeGates();
    this.#applier = this.#makeApplier(peers, parts.ledger);
    const merging = {
      region: config.region,
      members: [config.region, ...peers],
      tables: config.tables,
      database: parts.control,
      check: checkFunction,
      ownEpoch: async () => (await readOwnHistory(parts.control))?.epoch ?? null,
      isCaptured: () => this.#capture?.state.kind === 'streaming',
      // What was applied before the history of a table was kept must be stable before anybody may count on that history.
      isReady: () => {
        const from = this.#applier.trackedFrom;
        return from !== null && this.#stability.watermark() > from;
      },
      logger,
    };
    this.#mergeKeeper = new MergeKeeper(merging);
    this.merges = new MergeRegistry({ ...merging, onChange: () => this.#mergeKeeper.wake() });
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
      tellWarnings(await checkPrerequisites(client, config), logger);
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
    const { rows } = await control.query('select origin from syncline.applied');
    const joined = new Set(rows.map((row) => String(row.origin)));
    const logs = resources.use(await RegionLogs.open(config, (detail) => logger.warn(detail)));
    const ledger = new NotesLedger();
    const agent = new Agent(config, logger, { lease, control, links, joined, logs, ledger });
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
    const problems: Problem[] = [
      ...this.#problems,
      ...(this.#sequences?.problems ?? []),
      ...this.#mergeKeeper.problems,
      ...this.#orphansMissed.values(),
    ];
    if (this.#slotProblem !== null) problems.push(this.#slotProblem);
    for (const link of links) if (link.reason !== null) problems.push(link.reason);
    const baseline = this.#capture?.baseline ?? { kind: 'starting' };
    if (baseline.kind === 'failed') problems.push(toProblem(baseline.error, 'SYN-B004'));
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
      baseline: baselineStatus(baseline),
      links,
      conflicts_by_table,
      parked_by_table: this.#parked,
      orphans_by_table: { ...this.#orphans },
      log: { bytes: this.#logBytes, bytes_max: this.#logs.bytesMax, streams: this.#logs.traffic() },
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
    const parked = await discardParked(this.#control, eventIds);
    await this.#countQuarantine();
    return Number(rows[0]?.known ?? 0) + parked;
  }

  async editParked(parkedId: string, values: Image): Promise<void> {
    await editParked(this.#control, parkedId, values);
  }

  /** Over a connection of its own: it may wait for a lock, and nothing of the agent may wait behind it. */
  async reapplyLoser(conflictId: string): Promise<Reapplied> {
    const { database, tables } = this.#config;
    await using client = await connect(database, {
      applicationName: this.#lease.applicationName('reapply'),
      statementTimeoutMs: REAPPLY_MS_MAX,
      lockTimeoutMs: REAPPLY_LOCK_MS_MAX,
    });
    const done = await writeLoser(client, conflictId, (schema, table) => isTableIncluded(tables, schema, table));
    const { schema_name, table_name, operation, rows } = done;
    const table = `${schema_name}.${table_name}`;
    this.#logger.info({ conflict_id: conflictId, table, operation, rows }, 'what lost was written again');
    return done;
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    await this.#capture?.stop();
    await this.#applying.catch(() => undefined);
    await this.#upkeep;
    await this.#gating;
    await this.#links[Symbol.asyncDispose]();
    await this.#logs[Symbol.asyncDispose]();
    await this.#control[Symbol.asyncDispose]();
    await this.#sandbox[Symbol.asyncDispose]();
    await this.#lease[Symbol.asyncDispose]();
    this.#ended.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(ledger: NotesLedger): Promise<void> {
    const { region, peers, tables, capture, database } = this.#config;
    if (this.#config.baseline === 'trust') {
      this.#logger.warn(
        'baseline: trust: rows from before replication began are taken for equal, and are not compared',
      );
    }
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
          log: this.#logs.of(region),
          ledger,
          stability: this.#stability,
          publication: { name, ...tables, always: REGISTRY_TABLES, identity: 'full' },
          slot: name,
          baseline: this.#config.baseline,
          heartbeatMs: capture.heartbeat_ms,
          members: () => members,
          delays: () => this.#delays(),
          neededFrom: async () => await this.#neededFrom(),
          limits: { append_bytes_max: this.#appendBytesMax() },
        },
        {
          onState: (state) => this.#onCaptureState(state, start),
          onPublication: (report) => this.#onPublication(report),
          onEpoch: (opened) => this.#onEpoch(opened),
          onHistory: (history) => this.#onHistory(history),
          onBaseline: (state) => this.#onBaseline(state),
        },
      );
    this.#gating = this.#gates.run(this.#joined, this.#stopping.signal);
    this.#capture = start();
    this.#lease.lost.addEventListener('abort', () => this.#end(this.#lease.lost.reason), { once: true });
    const { signal } = this.#stopping;
    this.#upkeep = Promise.all([this.#keepUp(), this.#sequences?.run(signal), this.#mergeKeeper.run(signal)]);
  }

  #onCaptureState(state: CaptureState, start: () => Capture): void {
    if (state.kind === 'stopped' && state.error !== null) {
      this.#logger.error({ err: state.error }, 'capture has stopped');
      // What an operator has to mend may be mended while the agent runs; until then the slot keeps everything.
      if (state.error instanceof SynclineError && state.error.class === 'config') void this.#captureAgain(start);
    } else if (state.kind === 'retrying') {
      this.#logger.warn({ err: state.error, retry_ms: state.delayMs }, 'capture is interrupted');
    } else this.#logger.info({ state: state.kind }, 'capture');
    if (state.kind === 'streaming') this.#mergeKeeper.wake();
  }

  async #captureAgain(start: () => Capture): Promise<void> {
    const { signal } = this.#stopping;
    await delay(CAPTURE_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) this.#capture = start();
  }

  #onEpoch({ epoch, fork, after, why }: OpenedEpoch): void {
    if (why === 'restored') {
      this.#logger.warn({ epoch, fork, after }, 'the database is an older copy: what it lacks comes back from the log');
      return;
    }
    const detail = `the slot was made anew behind ${after ?? 'nothing'}: what was removed without it is unknown elsewhere`;
    this.#slotProblem = { code: 'SYN-K025', detail };
    this.#logger.warn({ code: 'SYN-K025', epoch, fork, after }, detail);
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

  #onBaseline(state: BaselineState): void {
    if (state.kind === 'failed') this.#logger.error({ err: state.error }, 'the baseline cannot be read');
    const own = ownBaseline(state);
    if (own === null) return;
    const { rows, tables_total, detail } = baselineStatus(state);
    this.#logger.info({ state: state.kind, rows, tables: tables_total, detail }, 'the stream tells the baseline');
    this.#gates.know(own);
  }

  #onVerdict(source: string, verdict: GateVerdict): void {
    const { state, detail } = linkBaseline(verdict);
    const says = { source, state, detail };
    if (verdict.kind === 'refused') this.#logger.error({ ...says, code: verdict.code }, 'the link is not joined');
    else if (verdict.kind === 'trusted') this.#logger.warn(says, 'the link is joined unseen');
    else this.#logger.info(says, isOpen(verdict) ? 'the link is joined' : 'the link waits for a baseline');
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
      pushed: capture?.counts.pushed ?? 0,
      foreign: capture?.counts.foreign ?? 0,
      slot_retained_bytes: capture?.retainedBytes ?? null,
      last_published_at: capture?.lastDurableAtMs == null ? null : new Date(capture.lastDurableAtMs).toISOString(),
    };
  }

  /** The agent cannot go on: whoever started it is told why. */
  #end(error: unknown): void {
    if (!this.#stopping.signal.aborted) this.#ended.reject(error);
  }

  #makeGates(): BaselineGates {
    const { region, peers, baseline } = this.#config;
    return new BaselineGates({
      region,
      peers: peers.map((peer) => ({
        region: peer.region,
        isTrusted: baseline === 'trust' || peer.baseline === 'trust',
      })),
      logOf: (origin) => this.#logs.of(origin),
      onVerdict: (source, verdict) => this.#onVerdict(source, verdict),
      onFault: (source, err) => this.#logger.warn({ source, err }, 'the baseline of a region cannot be read yet'),
    });
  }

  #makeApplier(peers: readonly string[], ledger: NotesLedger): Applier {
    const { region, apply, tables } = this.#config;
    return new Applier({
      region,
      peers,
      logOf: (origin) => this.#logs.of(origin),
      openSession: async () => await this.#openSession(),
      ledger,
      stability: this.#stability,
      batchRowsMax: apply.batch_rows_max,
      causalWaitMs: apply.causal_wait_ms,
      onError: apply.on_error,
      isReplicated: (schema, table) => isRegistryTable(schema, table) || isTableIncluded(tables, schema, table),
      leadLimits: (origin) => this.#leadLimits(origin),
      onHeartbeat: ({ region_id, delays_ms, merges }, delayMs) => {
        if (region_id !== region && merges) this.#mergeKeeper.heard(region_id);
        if (region_id !== region) this.#activities.get(region_id)?.drift.record(delayMs, delays_ms[region] ?? null);
      },
      merges: {
        registry: async () => await readKnownMerges({ region, database: this.#control, sandbox: this.#sandbox }),
        functions: async (requests) => await this.#sandbox.merge(requests),
      },
      publishedTo: () => this.#capture?.publishedTo,
      isPaused: (origin) => this.#isPaused(origin) || this.#gates.isClosed(origin),
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
        const ofRegistry = items.find(touchesRegistry);
        if (ofRegistry !== undefined) this.#mergeKeeper.applied(origin, positionEpoch(ofRegistry.position));
        const acked = activity?.lastAckedEventId ?? null;
        if (origin !== region && acked !== null) this.#links.acknowledged(linkId(origin, region), acked);
      },
      onFault: (origin, error) => {
        const activity = this.#activities.get(origin);
        const known = activity?.fault?.code;
        const fault = error === null ? null : toProblem(error, 'SYN-A001');
        if (activity !== undefined) activity.fault = fault;
        // What is found again and again is told once.
        if (fault !== null && fault.code !== known) this.#logger.error({ origin, err: error }, 'a link stands still');
        if (fault === null && known !== undefined) this.#logger.info({ origin }, 'the link goes on');
      },
    });
  }

  /** A connection for the lane. A backend of the one before may still be committing: it is ended first. */
  async #openSession(): Promise<ApplySession> {
    const { database, region, apply, conflicts } = this.#config;
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
        began: () => this.#began,
        redact: conflicts.redact,
      });
      return {
        port,
        notes: new SqlNoteStore(client),
        orphans: this.#orphanFinder(client),
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

  #orphanFinder(client: PostgresClient): OrphanFinder {
    const { tables, conflicts } = this.#config;
    return new OrphanFinder({
      client,
      redact: conflicts.redact,
      isReplicated: (schema, table) => isTableIncluded(tables, schema, table),
      onFound: (table, count) => {
        this.#orphans[table] = (this.#orphans[table] ?? 0) + count;
        this.#logger.warn(
          { table, rows: count },
          'rows name a row that was removed elsewhere: they are in the conflict log',
        );
      },
      onMissed: (foreignKey, missed) => {
        if (missed === null) this.#orphansMissed.delete(foreignKey);
        else this.#orphansMissed.set(foreignKey, missed);
        if (missed !== null)
          this.#logger.warn(missed, 'rows that lost their parent may be missing in the conflict log');
      },
    });
  }

  async #learnHistory(database: Queryable): Promise<void> {
    const history = await readHistory(database);
    if (history !== null) this.#stability.beganAt(hlcFromText(history.began));
    if (history !== null) this.#onHistory(history);
  }

  /** The very first start makes the history while apply is at work already: before the gate of any link is open. */
  #onHistory({ began, begin }: SlotHistory): void {
    this.#stability.beganAt(hlcFromText(began));
    this.#began = begin.snapshot;
  }

  #onApplyState(state: RunState): void {
    this.#applyState = state;
    if (state.kind === 'running') this.#applyRestarts += 1;
    if (state.kind === 'waiting')
      this.#logger.warn({ err: state.error, retry_ms: state.delayMs }, 'apply is interrupted');
  }

  #appendBytesMax(): number {
    const { append_bytes_max } = PUBLISHER_LIMITS;
    const { bytesMax } = this.#logs;
    return bytesMax === null ? append_bytes_max : Math.min(append_bytes_max, bytesMax / APPENDS_OF_LOG_MIN);
  }

  #leadLimits(origin: string): LeadLimits {
    const { region, apply, limits } = this.#config;
    const allowed = this.#links.link(linkId(origin, region)).allow_drift_ms ?? 0;
    return {
      waitMicros: BigInt(apply.lead_wait_ms) * 1_000n,
      holdMicros: BigInt(Math.max(limits.max_clock_drift_ms, allowed)) * 1_000n,
    };
  }

  /** What this region measured of the others' heartbeats, for its own. */
  #delays(): Delays {
    const delays: { [region: string]: number } = {};
    for (const [origin, { drift }] of this.#activities) if (drift.leastMs !== null) delays[origin] = drift.leastMs;
    return delays;
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
    const drift = activity?.drift.drift ?? null;
    const verdict = this.#gates.verdict(source);
    const refused = verdict.kind === 'refused' ? { code: verdict.code, detail: verdict.detail } : null;
    const reason = activity?.fault ?? refused ?? (quarantined === 0 ? null : quarantineProblem(source, quarantined));
    return {
      ...stored,
      status: stored.status === 'active' && reason !== null ? 'degraded' : stored.status,
      reason,
      baseline: linkBaseline(verdict),
      lag_ms: waiting.oldest === null ? 0 : Math.max(0, Date.now() - Date.parse(waiting.oldest)),
      lag_p50_ms: lag?.[0] ?? null,
      lag_p99_ms: lag?.[1] ?? null,
      last_heard_at: activity?.lastHeardAt ?? null,
      clock_drift_ms: drift?.drift_ms ?? null,
      clock_drift_error_ms: drift?.error_ms ?? null,
      log_kept_ms: this.#keptMs.get(source) ?? null,
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
        await this.#measureKept();
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

  async #measureKept(): Promise<void> {
    if (Date.now() < this.#nextKeptMs) return;
    this.#nextKeptMs = Date.now() + KEPT_PERIOD_MS;
    for (const { region } of this.#config.peers) {
      const next = this.#applier.mark(region)?.log_offset ?? 0;
      // What cannot be read now is told by the link.
      this.#keptMs.set(region, await this.#logs.keptForMs(region, next).catch(() => null));
    }
  }

  async #countQuarantine(): Promise<void> {
    const { rows } = await this.#control.query(
      'select origin, count(*) as events from syncline.quarantine group by origin',
    );
    this.#quarantined = new Map(rows.map((row) => [String(row.origin), Number(row.events)]));
    const parked = await this.#control.query(
      `select schema_name || '.' || table_name as name, count(*) as parked from syncline.parked group by 1 order by 1`,
    );
    this.#parked = Object.fromEntries(parked.rows.map((row) => [String(row.name), Number(row.parked)]));
  }

  /** Trims the own stream, and measures it. */
  async #trim(): Promise<void> {
    const { region } = this.#config;
    const neededFrom = await this.#neededFrom();
    // A baseline that is still to be read needs the stream from its beginning.
    const baseline = this.#capture?.baseline ?? { kind: 'starting' };
    const isTold = ownBaseline(baseline) !== null;
    if (neededFrom > 0 && isTold) await this.#capture?.trim(neededFrom);
    await using reader = await this.#logs.of(region).reader(region);
    this.#logBytes = await reader.sizeBytes();
  }

  /**
   * Below it every region that reads the own stream, this one included, has acknowledged everything, for as long as a stream
   * is kept beyond that.
   */
  async #neededFrom(): Promise<number> {
    if (!this.#logs.isTrimmed) return 0;
    const { region, peers } = this.#config;
    const log = this.#logs.of(region);
    const acknowledged = await log.acknowledged(region);
    // A database that was restored needs again what it had acknowledged before: its own mark tells.
    const own = (this.#applier.mark(region)?.log_offset ?? 1) - 1;
    const needed = Math.min(own, ...peers.map((peer) => acknowledged.get(peer.region) ?? 0));
    await using reader = await log.reader(region);
    return this.#logs.trimTo(needed, await reader.sizeBytes(), Date.now());
  }
}

type Parts = {
  readonly lease: Lease;
  readonly control: StandingConnection;
  readonly links: LinkStore;
  /** Regions of which something is applied. */
  readonly joined: ReadonlySet<string>;
  readonly logs: RegionLogs;
  readonly ledger: NotesLedger;
};

/** By code alone: there may be one for each of a thousand tables. */
function tellWarnings(findings: readonly Finding[], logger: Logger): void {
  const codes = findings.filter(({ severity }) => severity !== 'info').map(({ code }) => code);
  if (codes.length > 0) logger.warn({ codes: [...new Set(codes)] }, '`syncline doctor` warns of this region');
}

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

/** In a sandbox of its own: an agent whose tables merge by no function keeps no thread for one. */
const checkFunction: FunctionCheck = async (version) => {
  await using sandbox = new MergeSandbox();
  await sandbox.check(version);
};

function touchesRegistry(item: LaneItem): boolean {
  return item.kind === 'giant' || (item.kind === 'transaction' && item.source.events.some(isOfRegistry));
}

function isOfRegistry({ schema_name, table_name }: ChangeEvent): boolean {
  return isRegistryTable(schema_name, table_name);
}

function quarantineProblem(source: string, events: number): Problem {
  return { code: 'SYN-A001', detail: `${events} event(s) of ${source} wait in the quarantine` };
}
