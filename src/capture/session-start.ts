/**
 * The start of a session of capture, in the order that makes a takeover safe:
 *   1. the publication is in its wanted shape;
 *   2. the slot is held: from here on nobody else can confirm anything;
 *   3. a `run` record is appended: from here on whatever an older agent still appends is void;
 *   4. the own stream is read up to it: what it holds is skipped when the slot sends it again;
 *   5. where the database turns out to be another than the one that wrote the stream's end, a new epoch begins.
 * A slot that is made anew is held from its making on; it streams only once no write is found that it missed.
 * Reading the stream before the slot is held would be the obvious order and is wrong: an older agent could publish and
 * confirm in between, and that would be lost to both.
 *
 * A database that has never published, or a log that has lost what was published, stops it before anything is confirmed.
 */
import { isRegistryTable } from '../change/merge-registry.ts';
import { lsnToText, type Position } from '../change/position.ts';
import type { Delays } from '../change/stream-record.ts';
import { SECRET_KEY } from '../change/table-transfer.ts';
import type { NotesLedger } from '../clock/notes-ledger.ts';
import type { OwnHistory } from '../clock/own-history.ts';
import { SqlNoteStore } from '../clock/sql-note-store.ts';
import type { Stability } from '../clock/stability.ts';
import type { EventLog, StreamReader, StreamWriter } from '../log/event-log.ts';
import { checkMark } from '../log/mark-check.ts';
import { invariant } from '../platform/assert.ts';
import { fail, SynclineError } from '../platform/errors.ts';
import { ownOriginPrefix } from '../platform/own-origins.ts';
import { connect, type PostgresClient, quoteLiteral } from '../platform/postgres.ts';
import {
  type BaselineMode,
  type BaselineSession,
  type BaselineState,
  needsWholeStream,
  sayKnownBaseline,
} from './baseline.ts';
import type { Lease } from './lease.ts';
import { checkLedger } from './ledger-check.ts';
import { checkCluster, isNoted, SqlOwnDatabase, untilFlushed } from './own-database.ts';
import { readActiveMerges } from './publish/active-merges.ts';
import { pacedAppends } from './publish/append-pace.ts';
import type { OwnMark, OwnTrace } from './publish/own-stream.ts';
import { type PublishedCounts, Publisher, type PublisherLimits } from './publish/publisher.ts';
import { readResumePoint } from './publish/resume-point.ts';
import { type StartedRun, startRun } from './publish/run-start.ts';
import { TransactionAssembler } from './publish/transaction-assembler.ts';
import { findUnpublished } from './publish/unpublished-rows.ts';
import {
  confirmedEnd,
  dropSlot,
  ensureSlot,
  isSlotDue,
  readHistory,
  readSlot,
  type SlotFacts,
  type SlotHistory,
} from './slot/slot.ts';
import { SlotAcker } from './slot/slot-acker.ts';
import { holdsSlot } from './slot/slot-holder.ts';
import { AppliedWork } from './stream/applied-work.ts';
import { ReplicationConnection } from './stream/replication-connection.ts';
import type { ReplicationStream } from './stream/replication-stream.ts';
import { ensurePublication, type PublicationReport } from './tables/publication.ts';
import { isExcluded, type PublicationSpec } from './tables/publication-plan.ts';
import { readTable } from './tables/table-catalog.ts';

export type CaptureOptions = {
  readonly region: string;
  readonly url: string;
  readonly log: EventLog;
  readonly lease: Lease;
  /** Holds what the database knows of applied batches before capture starts. */
  readonly ledger: NotesLedger;
  readonly stability: Pick<Stability, 'floorFor'>;
  readonly publication: PublicationSpec;
  readonly slot: string;
  readonly baseline: BaselineMode;
  readonly heartbeatMs: number;
  /** The membership that this region knows, itself included. */
  readonly members: () => readonly string[];
  /** How long heartbeats of other regions took to be read here; none unless given. */
  readonly delays?: () => Delays;
  readonly limits?: Partial<PublisherLimits>;
  /** The offset below which nobody needs the stream any more. */
  readonly neededFrom?: () => Promise<number>;
};

/** What a session tells while it runs. */
export type SessionEvents = {
  readonly onStreaming: (session: StreamingSession) => void;
  readonly onDurable: (endLsn: bigint) => void;
  readonly onEpoch: (opened: OpenedEpoch) => void;
  readonly onSlot: (facts: SlotFacts) => void;
  readonly onPublication: (report: PublicationReport) => void;
  readonly onHistory: (history: SlotHistory) => void;
  readonly onBaseline: (state: BaselineState) => void;
};

/** A new epoch: the database is not the one that wrote the stream's end, or its slot was lost. */
export type OpenedEpoch = OwnHistory & { readonly why: 'restored' | 'slot-lost' };

export type StreamingSession = {
  readonly run: number;
  readonly counts: Readonly<PublishedCounts>;
  readonly writer: StreamWriter;
  /** Where the stream ends, durable or on its way. */
  readonly publishedTo: () => Position | null;
  /** The slot's confirmed position when the session began. */
  readonly confirmedLsn: bigint;
};

export type StartedSession = {
  readonly stream: ReplicationStream;
  readonly run: number;
  readonly publisher: Publisher;
  readonly acker: SlotAcker;
  readonly assembler: TransactionAssembler;
  readonly control: PostgresClient;
  readonly catalog: PostgresClient;
  readonly report: PublicationReport;
  /** What is left to do for the baseline; null where the stream says it already. */
  readonly baseline: BaselineSession | null;
};

/** Resources go to the stack as soon as they are open, also when a later step fails. */
export async function startSession(
  options: CaptureOptions,
  events: SessionEvents,
  resources: AsyncDisposableStack,
): Promise<StartedSession> {
  const { region, url, lease, log, slot, publication } = options;
  await lease.assertHeld();
  const control = await keep(resources, connect(url, { applicationName: lease.applicationName('publication') }));
  const catalog = await keep(resources, connect(url, { applicationName: lease.applicationName('heartbeat') }));
  // Nothing that is committed here is worth a wait for a synchronous standby that is away.
  await catalog.query('set synchronous_commit = local');
  const writer = await keep(resources, log.writer(region));
  // A log that is full takes not even the record of a run: what nobody needs any more goes first.
  const neededFrom = (await needsWholeStream(control, options)) ? 0 : ((await options.neededFrom?.()) ?? 0);
  if (neededFrom > 0) await writer.trim(neededFrom);

  const isFirst = (await readHistory(control)) === null;
  if (isFirst) await checkNeverPublished(log, region);
  await checkCluster(control, region);
  await checkLedger(options.ledger, async (lsn) => await isNoted(control, lsn));
  // What is said of a table that comes or goes now must be in the stream: without a slot it would be lost.
  const mayChange = isFirst || !(await isSlotDue(control, slot));
  const report = await ensurePublication(control, publication, { mayCreate: isFirst, mayChange });
  events.onPublication(report);
  const applicationName = lease.applicationName('capture');
  const connection = await keep(resources, ReplicationConnection.connect({ url, applicationName }));
  await using reader = await log.reader(region);
  await checkLog(reader, options, await new SqlOwnDatabase(control, lease, region).mark());
  // Of what goes from region to region, nothing was there before the stream began: baselines are about users' rows.
  const users = report.tables.filter(({ schema, table }) => !isRegistryTable(schema, table));
  const found = await ensureSlot(control, connection, slot, users);
  const ownOrigins = await ownOriginPrefix(control);
  const secret = await decisionSecret(control);
  const startStream = (): Promise<ReplicationStream> =>
    connection.start({
      slot,
      publications: [publication.name],
      applied: new AppliedWork(ownOrigins, secret),
      isAtWork: (pid) => holdsSlot(catalog, slot, pid),
    });
  const held = found.anewFrom === null ? await startStream() : null;
  const { confirmedLsn } = await readSlot(control, slot);
  if ((await reader.bounds()) === null && confirmedLsn > found.startLsn) {
    const detail = `the log holds no stream of ${region}, and the slot was confirmed up to ${lsnToText(confirmedLsn)}`;
    throw fail('SYN-K009', detail, { context: { region } });
  }
  const started = await beginRun(options, { control, reader, writer, anewFrom: found.anewFrom, report });
  const { run, history, trace, decision } = started;
  const slotHistory = await readHistory(control);
  invariant(slotHistory !== null, 'a run has begun, so its history is noted');
  events.onHistory(slotHistory);
  if (decision.kind === 'open') events.onEpoch({ ...history, why: decision.why });
  const stream = held ?? (await startStream());
  const baseline: BaselineSession = {
    region,
    url,
    applicationName: lease.applicationName('baseline'),
    mode: options.baseline,
    writer,
    reader: async () => await log.reader(region),
    run,
    epoch: history.epoch,
    history: slotHistory,
    members: options.members,
    delays: options.delays ?? (() => ({})),
    durableLsn: () => acker.durableLsn,
    onState: events.onBaseline,
  };
  const isBaselineSaid = await sayKnownBaseline(baseline, control);
  const resume = await readResumePoint(reader, report.tables);
  const endOf = await confirmedEnd(control);
  const acker = new SlotAcker(confirmedLsn, (lsn) => stream.confirm(endOf(lsn)));
  const notes = new SqlNoteStore(catalog);
  const publisher = new Publisher({
    ...options,
    ...history,
    run,
    writer,
    notesServer: {
      around: async (lsn, limit) => await notes.around(lsn, limit),
      untilFlushed: async (lsn) => await untilFlushed(catalog, lsn),
    },
    stamper: resume.stamper,
    merges: await readActiveMerges(control, region),
    resumeAfter: trace.published,
    confirmedLsn,
    predecessor: resume.predecessor,
    onDurable: (endLsn) => {
      acker.durable(endLsn);
      options.ledger.prune(endLsn);
      events.onDurable(endLsn);
    },
    defer: pacedAppends(),
  });
  const assembler = new TransactionAssembler({
    sink: publisher,
    applied: new AppliedWork(ownOrigins, secret),
    decisionSecret: secret,
    lookUp: async (relation) => {
      const found = await readTable(catalog, relation.oid);
      // One that is published still was moved, or renamed, and nobody has excluded it.
      const isMember = report.members.has(relation.oid);
      return !isMember && isExcluded(publication, relation, found) ? 'excluded' : found;
    },
  });
  const publishedTo = (): Position | null => publisher.lastPosition;
  events.onStreaming({ run, counts: publisher.counts, writer, publishedTo, confirmedLsn });
  const rest = isBaselineSaid ? null : baseline;
  return { run, stream, publisher, acker, assembler, control, catalog, report, baseline: rest };
}

async function decisionSecret(control: PostgresClient): Promise<string | null> {
  const { rows } = await control.query('select value from syncline.meta where key = $1', [SECRET_KEY]);
  return rows[0]?.value ?? null;
}

/** Hands a resource to the stack; gives it back at once where the stack was disposed of meanwhile. */
async function keep<T extends AsyncDisposable>(resources: AsyncDisposableStack, opening: Promise<T>): Promise<T> {
  const opened = await opening;
  if (!resources.disposed) return resources.use(opened);
  await opened[Symbol.asyncDispose]();
  throw fail('SYN-K003', 'capture was stopped while it started');
}

/** A database that knows no epoch must not go on with a stream that has one: it is not the database that wrote it. */
async function checkNeverPublished(log: EventLog, region: string): Promise<void> {
  await using reader = await log.reader(region);
  if ((await reader.bounds()) === null) return;
  const detail = `the log holds a stream of ${region}, and this database has never published one`;
  throw fail('SYN-K009', detail, { context: { region } });
}

/**
 * Makes sure that the log has lost nothing that others have read, nor this region itself: a log that comes from a copy holds
 * acknowledgements as old as its records.
 */
async function checkLog(reader: StreamReader, { log, region }: CaptureOptions, mark: OwnMark | null): Promise<void> {
  const last = (await reader.bounds())?.last;
  if (last === undefined) return;
  for (const [consumer, offset] of await log.acknowledged(region)) {
    if (offset <= last) continue;
    const detail = `${consumer} has read the stream of ${region} up to offset ${offset}, and it ends at ${last}`;
    throw fail('SYN-K021', detail, { context: { region, consumer, offset, last } });
  }
  try {
    if (mark !== null) await checkMark({ origin: region, ...mark }, reader);
  } catch (cause) {
    const code = cause instanceof SynclineError ? cause.code : undefined;
    if (code === 'SYN-L003') throw fail('SYN-K021', (cause as Error).message, { cause, context: { region, last } });
    // What is trimmed away is told of where the stream is traced.
    if (code !== 'SYN-L004') throw cause;
  }
}

type RunParts = {
  readonly control: PostgresClient;
  readonly reader: StreamReader;
  readonly writer: StreamWriter;
  readonly anewFrom: string | null;
  readonly report: PublicationReport;
};

async function beginRun(options: CaptureOptions, parts: RunParts): Promise<StartedRun> {
  const { region, lease, slot, url } = options;
  const { control, reader, writer, anewFrom, report } = parts;
  const database = new SqlOwnDatabase(control, lease, region);
  if (anewFrom === null) return await traced(startRun({ region, reader, writer, database, isSlotNew: false }));
  // The snapshot lasts until the replication connection is used again, and then as long as a transaction has it.
  // All published tables are read, however long that takes.
  const past = await connect(url, { applicationName: lease.applicationName('snapshot'), statementTimeoutMs: 0 });
  try {
    await past.query('begin isolation level repeatable read read only');
    await past.query(`set transaction snapshot ${quoteLiteral(anewFrom)}`);
    const check = async (trace: OwnTrace): Promise<void> => {
      const found = await findUnpublished(past, reader, await database.mark(), trace, report.tables);
      if (found.length === 0) return;
      const told = found.map(({ table, rows }) => `${rows} row(s) of ${table}`).join(', ');
      throw fail('SYN-K023', `slot ${slot} was gone, and meanwhile were written: ${told}`, { context: { region } });
    };
    return await traced(startRun({ region, reader, writer, database, isSlotNew: true, check }));
  } catch (error) {
    // A slot that nobody uses would keep the server's WAL for ever.
    await dropSlot(control, slot).catch(() => undefined);
    throw error;
  } finally {
    await past.end();
  }
}

/** What is trimmed away of the own stream cannot be had back from it. */
async function traced(started: Promise<StartedRun>): Promise<StartedRun> {
  try {
    return await started;
  } catch (cause) {
    if (!(cause instanceof SynclineError && cause.code === 'SYN-L004')) throw cause;
    throw fail('SYN-K022', cause.message, { cause });
  }
}
