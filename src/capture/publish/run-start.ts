/**
 * How a run begins in the stream, once the slot is held: its record makes void whatever an older run still writes; then the
 * own stream is traced up to it, because before that a zombie could publish and confirm in between; and where the database
 * turns out to be of another history than the stream's end, a new epoch is noted in the database and begins with a run of
 * its own.
 *
 * The database is told first. A crash in between leaves an epoch in which nothing was published, and the next start goes
 * on with it. The other order could publish in an epoch that the database does not know, and take that for another's.
 */
import type { Position } from '../../change/position.ts';
import { runRecord } from '../../change/stream-record.ts';
import type { OwnHistory } from '../../clock/own-history.ts';
import type { StreamReader, StreamWriter } from '../../log/event-log.ts';
import {
  decideStart,
  type OwnMark,
  type OwnTrace,
  type StartDecision,
  type TraceOptions,
  traceOwnStream,
} from './own-stream.ts';

/** What a start asks of the region's database. */
export interface OwnDatabase {
  history(): Promise<OwnHistory>;
  /** How far the own stream was applied; null where it never was. */
  mark(): Promise<OwnMark | null>;
  commitTimes: TraceOptions['commitTimes'];
  /** The highest run handed out. */
  lastRun(): Promise<number>;
  /** Hands out a run above all, and above `highest`. */
  nextRun(highest: number): Promise<number>;
  /** Notes an epoch that begins, unless a run later than this one was handed out: that one decides for itself. */
  begin(history: OwnHistory, run: number): Promise<void>;
  now(): Promise<{ readonly epoch: string; readonly iso: string }>;
}

export type RunStartOptions = {
  readonly region: string;
  readonly reader: StreamReader;
  readonly writer: Pick<StreamWriter, 'append'>;
  readonly database: OwnDatabase;
  readonly isSlotNew: boolean;
  /** Throws where the region must not go on: called with what was found, before an epoch begins. */
  readonly check?: (trace: OwnTrace, decision: StartDecision) => Promise<void>;
};

export type StartedRun = {
  readonly run: number;
  readonly history: OwnHistory;
  readonly trace: OwnTrace;
  readonly decision: StartDecision;
};

export async function startRun(options: RunStartOptions): Promise<StartedRun> {
  const { region, reader, writer, database, isSlotNew } = options;
  const bounds = await reader.bounds();
  const runOfStream = bounds === null ? 0 : await reader.runBefore(bounds.last + 1);
  const runOfDatabase = await database.lastRun();
  const open = async (run: number, { epoch, fork }: { epoch: string; fork: Position | null }): Promise<void> => {
    const { iso } = await database.now();
    await writer.append([runRecord({ region_id: region, run, epoch, opened_at: iso, forked_at: fork })]);
  };
  const run = await database.nextRun(runOfStream);
  // Behind that, no older run changes it any more.
  const history = await database.history();
  await open(run, history);

  const mark = await database.mark();
  const { commitTimes } = database;
  const trustsForgotten = runOfDatabase >= runOfStream;
  const trace = await traceOwnStream(reader, { history, mark, commitTimes, trustsForgotten });
  const { epoch: now } = await database.now();
  const decision = decideStart({ history, trace, runOfDatabase, runOfStream, isSlotNew, now });
  await options.check?.(trace, decision);
  if (decision.kind === 'continue') return { run, history, trace, decision };
  await database.begin(decision.history, run);
  const next = await database.nextRun(run);
  await open(next, decision.history);
  return { run: next, history: decision.history, trace, decision };
}
