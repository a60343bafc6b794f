/**
 * The start of a session of capture, in the order that makes a takeover safe:
 *   1. the publication is in its wanted shape;
 *   2. the slot is held: from here on nobody else can confirm anything;
 *   3. a `run` record is appended: from here on whatever an older agent still appends is void;
 *   4. the own stream is read up to it: what it holds is skipped when the slot sends it again.
 * Reading the stream before the slot is held would be the obvious order and is wrong: an older agent could publish and
 * confirm in between, and that would be lost to both.
 *
 * Where the stream and the database turn out to be of different histories, it stops before anything is confirmed.
 */
import { microsToIso } from '../change/change-event.ts';
import { type Epoch, lsnToText, positionEpoch, positionLsn } from '../change/position.ts';
import { runRecord } from '../change/stream-record.ts';
import type { NotesLedger } from '../clock/notes-ledger.ts';
import type { Stability } from '../clock/stability.ts';
import type { EventLog, StreamWriter } from '../log/event-log.ts';
import { fail } from '../platform/errors.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import type { Lease } from './lease.ts';
import { ensurePublication, type PublicationReport } from './publication.ts';
import type { PublicationSpec } from './publication-plan.ts';
import { type PublishedCounts, Publisher, type PublisherLimits } from './publisher.ts';
import { ReplicationConnection } from './replication-connection.ts';
import type { ReplicationStream } from './replication-stream.ts';
import { type ResumePoint, readResumePoint } from './resume-point.ts';
import {
  ensureSlot,
  hasForeignOrigins,
  ownOriginPrefix,
  readHistory,
  readSlot,
  type SlotFacts,
  serverMicros,
  walFlushLsn,
} from './slot.ts';
import { SlotAcker } from './slot-acker.ts';
import { readTable } from './table-catalog.ts';
import { TransactionAssembler } from './transaction-assembler.ts';

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
  readonly heartbeatMs: number;
  /** The membership that this region knows, itself included. */
  readonly members: () => readonly string[];
  readonly limits?: Partial<PublisherLimits>;
  /** The offset below which nobody needs the stream any more. */
  readonly neededFrom?: () => Promise<number>;
};

/** What a session tells while it runs. */
export type SessionEvents = {
  readonly onStreaming: (session: StreamingSession) => void;
  readonly onDurable: (endLsn: bigint) => void;
  readonly onSlot: (facts: SlotFacts) => void;
  readonly onPublication: (report: PublicationReport) => void;
};

export type StreamingSession = {
  readonly run: number;
  readonly counts: Readonly<PublishedCounts>;
  readonly writer: StreamWriter;
  /** The slot's confirmed position when the session began. */
  readonly confirmedLsn: bigint;
};

export type StartedSession = {
  readonly stream: ReplicationStream;
  readonly publisher: Publisher;
  readonly acker: SlotAcker;
  readonly assembler: TransactionAssembler;
  readonly control: PostgresClient;
  readonly catalog: PostgresClient;
  readonly report: PublicationReport;
  readonly leavesOutOrigins: boolean;
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
  // A heartbeat is worth no wait for a synchronous standby that is away.
  await catalog.query('set synchronous_commit = local');
  const writer = await keep(resources, log.writer(region));
  // A log that is full takes not even the record of a run: what nobody needs any more goes first.
  const neededFrom = (await options.neededFrom?.()) ?? 0;
  if (neededFrom > 0) await writer.trim(neededFrom);

  const isFirst = (await readHistory(control)) === null;
  if (isFirst) await checkNeverPublished(log, region);
  const report = await ensurePublication(control, publication, { mayCreate: isFirst });
  events.onPublication(report);
  const applicationName = lease.applicationName('capture');
  const connection = await keep(resources, ReplicationConnection.connect({ url, applicationName }));
  const history = await ensureSlot(control, connection, slot);
  const leavesOutOrigins = !(await hasForeignOrigins(control));
  const stream = await connection.start({
    slot,
    publications: [publication.name],
    origin: leavesOutOrigins ? 'none' : 'any',
  });

  const slotFacts = await readSlot(control, slot);
  const run = await openRun(options, control, writer, { ...history, confirmedLsn: slotFacts.confirmedLsn });
  const resume = await readOwnStream(options, control, history.epoch, report);
  const acker = new SlotAcker(slotFacts.confirmedLsn, (lsn) => stream.confirm(lsn));
  const publisher = new Publisher({
    ...options,
    run,
    epoch: history.epoch,
    writer,
    stamper: resume.stamper,
    resumeAfter: resume.tail,
    confirmedLsn: slotFacts.confirmedLsn,
    predecessor: resume.predecessor,
    onDurable: (endLsn) => {
      acker.durable(endLsn);
      options.ledger.prune(endLsn);
      events.onDurable(endLsn);
    },
    defer: setImmediate,
  });
  const assembler = new TransactionAssembler({
    sink: publisher,
    ownOriginPrefix: await ownOriginPrefix(control),
    lookUp: (oid) => readTable(catalog, oid),
  });
  events.onStreaming({ run, counts: publisher.counts, writer, confirmedLsn: slotFacts.confirmedLsn });
  return { stream, publisher, acker, assembler, control, catalog, report, leavesOutOrigins };
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

/** Appends the record that makes void whatever an older run still writes. */
async function openRun(
  { region, lease, log }: CaptureOptions,
  control: PostgresClient,
  writer: StreamWriter,
  { epoch, startLsn, confirmedLsn }: { epoch: Epoch; startLsn: bigint; confirmedLsn: bigint },
): Promise<number> {
  await using reader = await log.reader(region);
  const bounds = await reader.bounds();
  if (bounds === null && confirmedLsn > startLsn) {
    const detail = `the log holds no stream of ${region}, and the slot was confirmed up to ${lsnToText(confirmedLsn)}`;
    throw fail('SYN-K009', detail, { context: { region } });
  }
  const run = await lease.nextRun(bounds === null ? 0 : await reader.runBefore(bounds.last + 1));
  const opened_at = microsToIso(await serverMicros(control));
  await writer.append([runRecord({ region_id: region, run, epoch, opened_at })]);
  return run;
}

async function readOwnStream(
  { region, log }: CaptureOptions,
  control: PostgresClient,
  epoch: Epoch,
  report: PublicationReport,
): Promise<ResumePoint> {
  await using reader = await log.reader(region);
  const resume = await readResumePoint(reader, report.tables);
  const position = resume.tail?.position;
  if (position === undefined) return resume;
  if (positionEpoch(position) !== epoch) {
    const detail = `the stream ends in epoch ${positionEpoch(position)}, the database is in epoch ${epoch}`;
    throw fail('SYN-K009', detail, { context: { position, epoch } });
  }
  const walEnd = await walFlushLsn(control);
  if (positionLsn(position) >= walEnd) {
    const detail = `the stream ends at ${lsnToText(positionLsn(position))}, the WAL of the server at ${lsnToText(walEnd)}`;
    throw fail('SYN-K009', detail, { context: { position } });
  }
  return resume;
}
