/**
 * The region's own baseline: read once, kept in the database, and said in the stream by each run.
 *
 * Invariant: whenever it is read, it is what the tables held where the stream begins. A scan digests what they hold in a
 * snapshot taken now; then every change that the stream has from its beginning, and that the snapshot sees, is taken back
 * by its images. So the scan may come late, while writers go on, and be killed and begun anew as often as you like: no
 * attempt leaves anything behind but its result. (The snapshot that comes with the slot would do for the first attempt
 * alone, since it dies with its session; and to begin the slot anew would put what was written since into the baseline.)
 *
 * It rests on the stream being all that changed the tables: nothing of other regions is applied here before the baseline
 * is known (`apply/lane/baseline-gate.ts` sees to that), and the stream is not trimmed. Where that does not hold, and for a
 * table that was truncated or got other columns before it was read, nobody can tell any more, and the record says so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { BaselineTally, TableBaseline } from '../change/baseline.ts';
import type { ChangeEvent } from '../change/change-event.ts';
import { type Epoch, positionEpoch, positionLsn } from '../change/position.ts';
import { type BaselineRecord, baselineRecord, type Delays } from '../change/stream-record.ts';
import type { StreamReader, StreamWriter } from '../log/event-log.ts';
import { TransactionReader } from '../log/transaction-reader.ts';
import { fail, isInfrastructure, SynclineError } from '../platform/errors.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import { type Scan, type ScanProgress, scanTables, tableName } from './baseline-scan.ts';
import { beat } from './heartbeat.ts';
import type { SlotHistory } from './slot/slot.ts';

const BASELINE_KEY = 'baseline';
const RETRY_MS = 5_000;
const DURABLE_POLL_MS = 10;

/** `verify` compares it with that of every other region; `trust` takes all for equal and reads nothing. */
export type BaselineMode = 'verify' | 'trust';

export type BaselineState =
  | { readonly kind: 'starting' }
  /** For transactions that were in progress where the stream begins. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'scanning'; readonly progress: ScanProgress }
  /** It is tried again. */
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'known'; readonly tables: readonly TableBaseline[] }
  | { readonly kind: 'trusted' }
  | { readonly kind: 'untold'; readonly reason: string };

export type BaselineSession = {
  readonly region: string;
  readonly url: string;
  readonly applicationName: string;
  readonly mode: BaselineMode;
  readonly writer: Pick<StreamWriter, 'append'>;
  readonly reader: () => Promise<StreamReader>;
  readonly run: number;
  /** Of this session. */
  readonly epoch: Epoch;
  readonly history: SlotHistory;
  readonly members: () => readonly string[];
  readonly delays: () => Delays;
  /** Everything that commits below it is in the log. */
  readonly durableLsn: () => bigint;
  readonly onState: (state: BaselineState) => void;
};

/** What the database keeps; null until it was read. */
export async function readBaseline(control: PostgresClient): Promise<readonly TableBaseline[] | null> {
  const { rows } = await control.query('select value from syncline.meta where key = $1', [BASELINE_KEY]);
  return rows[0]?.value == null ? null : (JSON.parse(rows[0].value) as TableBaseline[]);
}

/** Whether the baseline is still to be read, for which the stream has to reach back to its beginning. */
export async function needsWholeStream(
  control: PostgresClient,
  { region, baseline }: { readonly region: string; readonly baseline: BaselineMode },
): Promise<boolean> {
  return baseline === 'verify' && (await readBaseline(control)) === null && !(await hasApplied(control, region));
}

/** Says in this run's stream what is known already; false where it has to be read first. */
export async function sayKnownBaseline(session: BaselineSession, control: PostgresClient): Promise<boolean> {
  const tables = await readBaseline(control);
  if (tables !== null) await say(session, { kind: 'known', tables });
  else if (session.mode === 'trust') await say(session, { kind: 'trusted' });
  return tables !== null || session.mode === 'trust';
}

/** Reads it and says it; resolves once that is done, or once the signal aborts. */
export async function makeBaseline(session: BaselineSession, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await using resources = new AsyncDisposableStack();
      const { url, applicationName } = session;
      const control = await connect(url, { applicationName });
      resources.defer(async () => await control.end());
      const found = await find(session, control, signal);
      await say(
        session,
        typeof found === 'string' ? { kind: 'untold', reason: found } : { kind: 'known', tables: found },
      );
      return;
    } catch (error) {
      // Whatever keeps it from being read, what is written here goes on to the log.
      if (signal.aborted) return;
      session.onState({ kind: 'failed', error: isTelling(error) ? error : unreadable(error) });
      await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

const isTelling = (error: unknown): boolean => error instanceof SynclineError || isInfrastructure(error);

function unreadable(cause: unknown): SynclineError {
  return fail('SYN-B004', cause instanceof Error ? cause.message : String(cause), { cause });
}

async function say(
  { region, run, epoch, mode, writer, onState }: BaselineSession,
  state: Extract<BaselineState, { kind: 'known' | 'trusted' | 'untold' }>,
): Promise<void> {
  const record: BaselineRecord = {
    region_id: region,
    epoch,
    trusted: mode === 'trust',
    tables: state.kind === 'known' ? state.tables : null,
    untold: state.kind === 'untold' ? state.reason : null,
  };
  await writer.append([baselineRecord(run, record)]);
  onState(state);
}

/** Reads the baseline and keeps it in the database; or why it cannot be told. */
async function find(
  session: BaselineSession,
  control: PostgresClient,
  signal: AbortSignal,
): Promise<readonly TableBaseline[] | string> {
  const { epoch, history, region, onState } = session;
  const { began, begin } = history;
  if (epoch !== began) return 'the region was restored before it was read';
  if (await hasApplied(control, region)) return 'rows of other regions were applied before it was read';
  for (;;) {
    const scan = await scanTables(
      {
        ...session,
        tables: begin.tables,
        begin: begin.snapshot,
        onWaiting: () => onState({ kind: 'waiting' }),
        onProgress: (progress) => onState({ kind: 'scanning', progress }),
      },
      signal,
    );
    if (scan === null) continue;
    await untilDurable(session, control, scan.endLsn, signal);
    await using reader = await session.reader();
    if (!(await takeBack(reader, scan, epoch))) return 'the beginning of its stream is not there any more';
    const tables = [...scan.tables.values()].map((tally) => tally.result());
    return (await keep(control, region, tables)) ?? 'rows of other regions were applied while it was read';
  }
}

async function hasApplied(control: PostgresClient, region: string): Promise<boolean> {
  const sql = 'select exists (select from syncline.applied where origin <> $1) as found';
  return (await control.query(sql, [region])).rows[0]?.found === 't';
}

/** Keeps it, unless something was applied meanwhile; what is kept already stays. */
async function keep(
  control: PostgresClient,
  region: string,
  tables: readonly TableBaseline[],
): Promise<readonly TableBaseline[] | null> {
  await control.query(
    `insert into syncline.meta (key, value)
     select $1, $2 where not exists (select from syncline.applied where origin <> $3)
     on conflict (key) do nothing`,
    [BASELINE_KEY, JSON.stringify(tables), region],
  );
  return await readBaseline(control);
}

/** The stream has to hold all that the snapshot sees. A heartbeat makes it move on at once. */
async function untilDurable(
  { members, delays, durableLsn }: BaselineSession,
  control: PostgresClient,
  lsn: bigint,
  signal: AbortSignal,
): Promise<void> {
  if (durableLsn() < lsn) await beat(control, members(), delays());
  while (durableLsn() < lsn) await delay(DURABLE_POLL_MS, undefined, { signal });
}

/**
 * Takes back, in the digests, what the snapshot sees of the stream. False where the stream does not reach back to its
 * beginning, or has another one.
 */
export async function takeBack(reader: StreamReader, scan: Scan, epoch: Epoch): Promise<boolean> {
  if (((await reader.bounds())?.first ?? 0) > 0) return false;
  for await (const item of new TransactionReader(reader, 0).items()) {
    if (item.kind === 'run' || item.kind === 'heartbeat') continue;
    if (positionEpoch(item.position) !== epoch) return false;
    if (positionLsn(item.position) >= scan.endLsn) break;
    if (!scan.snapshot.seesRecent(item.xid)) continue;
    if (item.kind === 'transaction') undo(item.events, scan.tables);
    else for await (const events of item.chunks()) undo(events, scan.tables);
  }
  return true;
}

function undo(events: readonly ChangeEvent[], tables: ReadonlyMap<string, BaselineTally>): void {
  for (const { schema_name: schema, table_name: table, operation, before_image, after_image } of events) {
    const tally = tables.get(tableName({ schema, table }));
    if (tally === undefined) continue;
    if (operation === 'TRUNCATE') tally.giveUp('it was truncated before it was read');
    if (before_image !== null) tally.toggle(before_image, 1);
    if (after_image !== null) tally.toggle(after_image, -1);
  }
}
