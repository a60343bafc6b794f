/**
 * One attempt at capturing: from taking hold of the slot to the first thing that goes wrong.
 *
 * Once it has started, activities go on side by side: the pump from the slot to the log, the heartbeats, the look at the
 * publication, and at the very first start the reading of the baseline. Everything ends together, with the first that fails.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { fail } from '../platform/errors.ts';
import { type BaselineSession, makeBaseline } from './baseline.ts';
import { keepBeating } from './heartbeat.ts';
import type { Publisher } from './publish/publisher.ts';
import { type CaptureOptions, type SessionEvents, type StartedSession, startSession } from './session-start.ts';
import { noteMarked, readSlot } from './slot/slot.ts';
import { reconcilePublication } from './tables/publication.ts';

/** How often the publication and the origins are looked at. */
const LOOK_MS = 1_000;
/** How long an orderly end waits for appends under way. */
const DRAIN_MS = 5_000;

/** Captures until the signal aborts, or until the session has to begin anew; rejects with what went wrong. */
export async function runSession(options: CaptureOptions, events: SessionEvents, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  try {
    await using resources = new AsyncDisposableStack();
    const starting = startSession(options, events, resources);
    await Promise.race([starting, untilAborted(stop)]);
    if (!stop.aborted) {
      await carryOn(options, events, await starting, stop);
      return;
    }
    // A slot that is being made waits for every transaction under way: cutting the connection ends that.
    await resources.disposeAsync();
    await starting.catch(() => undefined);
  } finally {
    over.abort();
  }
}

/** Runs what was started until the first part of it ends or fails, or until the signal aborts. */
async function carryOn(
  options: CaptureOptions,
  events: SessionEvents,
  started: StartedSession,
  signal: AbortSignal,
): Promise<void> {
  const { run, stream, publisher, catalog } = started;
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  const { heartbeatMs: periodMs, members, delays = () => ({}) } = options;
  let notedLsn = 0n;
  const onBeat = async (): Promise<void> => {
    const facts = await readSlot(catalog, options.slot);
    events.onSlot(facts);
    if (facts.confirmedLsn === notedLsn) return;
    await noteMarked(catalog, facts, run);
    notedLsn = facts.confirmedLsn;
  };
  const tasks = [
    pump(started, stop),
    keepBeating({ client: catalog, periodMs, members, delays, onBeat }, stop),
    keepLooking(options, events, started, stop),
    readBaseline(started.baseline, stop),
    failOn(publisher.failed, stop),
    failOn(options.lease.lost, stop),
  ];
  try {
    await Promise.race([...tasks, untilAborted(stop)]);
    if (signal.aborted) await drain(publisher);
  } finally {
    over.abort();
    await stream.stop();
    publisher.end(fail('SYN-K003', 'this run of capture has ended'));
    await Promise.allSettled(tasks);
  }
}

/** Moves what the slot sends to the publisher, at the publisher's pace. */
async function pump({ stream, acker, assembler }: StartedSession, stop: AbortSignal): Promise<void> {
  for await (const item of stream) {
    if (item.kind === 'keepalive') continue;
    if (item.kind === 'commit') acker.received(item.endLsn);
    const wait = assembler.accept(item);
    if (wait !== undefined) await wait;
    if (stop.aborted) return;
  }
}

/** The session goes on when it is done. */
async function readBaseline(baseline: BaselineSession | null, stop: AbortSignal): Promise<void> {
  if (baseline !== null) await makeBaseline(baseline, stop);
  await untilAborted(stop);
}

/** Keeps the publication in shape. */
async function keepLooking(
  { publication }: CaptureOptions,
  events: SessionEvents,
  { control, report }: StartedSession,
  stop: AbortSignal,
): Promise<void> {
  let last = report;
  while (!stop.aborted) {
    await delay(LOOK_MS, undefined, { signal: stop }).catch(() => undefined);
    if (stop.aborted) return;
    last = await reconcilePublication(control, publication, last);
    events.onPublication(last);
  }
}

/** Rejects with the signal's reason once it aborts, and resolves once the session is over. */
function failOn(failed: AbortSignal, stop: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fails = (): void => reject(failed.reason);
    if (failed.aborted) fails();
    failed.addEventListener('abort', fails, { once: true, signal: stop });
    stop.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** For signals that live no longer than a session. */
function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function drain(publisher: Publisher): Promise<void> {
  const limit = new AbortController();
  const over = delay(DRAIN_MS, undefined, { signal: limit.signal }).catch(() => undefined);
  await Promise.race([publisher.durable().catch(() => undefined), over]);
  limit.abort();
}
