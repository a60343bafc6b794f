import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ModelApplyPort } from '../../../test/simulation/model-apply-port.ts';
import { ModelDatabase } from '../../../test/simulation/model-database.ts';
import { ModelStore } from '../../../test/simulation/model-store.ts';
import { heartbeat, positionOf, runStart } from '../../../test/support/stream-records.ts';
import { waitFor } from '../../../test/support/wait-for.ts';
import { NotesLedger } from '../../clock/notes-ledger.ts';
import { Stability } from '../../clock/stability.ts';
import type { StreamReader } from '../../log/event-log.ts';
import { MemoryLog } from '../../log/memory-log.ts';
import { fail } from '../../platform/errors.ts';
import { NO_MERGES } from '../../resolve/known-merges.ts';
import type { Mark } from '../apply-port.ts';
import { Applier, type ApplierOptions } from './applier.ts';

const HOME = 'home';
const NOW_MICROS = 1_767_225_700_000_000n;

/** A database that has applied of one stream already. */
class PortWithMark extends ModelApplyPort {
  readonly #mark: Mark;

  constructor(mark: Mark) {
    super(new ModelDatabase(HOME, () => NOW_MICROS), new ModelStore(), async () => {});
    this.#mark = mark;
  }

  override async loadMarks(): Promise<Mark[]> {
    return [this.#mark, ...(await super.loadMarks())];
  }
}

type Told = { readonly faults: Map<string, unknown>; isAcknowledged: boolean };

function applierOf(log: MemoryLog, port: ModelApplyPort, told: Told, more: Partial<ApplierOptions> = {}): Applier {
  return new Applier({
    region: HOME,
    peers: ['eu', 'us'],
    logOf: () => log,
    openSession: async () => ({
      port,
      notes: { newest: async () => ({ rows: [], end: 0n }) },
      orphans: { referenced: async () => new Map(), look: async () => undefined, giveUp: () => undefined },
      [Symbol.asyncDispose]: async () => undefined,
    }),
    ledger: new NotesLedger(),
    stability: new Stability(HOME, ['eu', 'us']),
    batchRowsMax: 100,
    causalWaitMs: 1_000,
    onError: 'quarantine',
    isReplicated: () => true,
    merges: { registry: async () => NO_MERGES, functions: async () => [] },
    publishedTo: () => null,
    isPaused: () => false,
    leadLimits: () => ({ waitMicros: 0n, holdMicros: 0n }),
    onHeartbeat: () => undefined,
    confirmedLsn: () => 0n,
    onState: () => undefined,
    onApplied: () => undefined,
    onBatch: () => undefined,
    prepareAcknowledgement: () => () => {
      told.isAcknowledged = true;
    },
    onFault: (origin, error) => told.faults.set(origin, error),
    onChoreFault: () => undefined,
    ...more,
  });
}

const sleep = async (ms: number, signal: AbortSignal): Promise<void> =>
  await delay(ms, undefined, { signal }).catch(() => undefined);

test('a stream that does not hold what was applied of it is acknowledged no more, while others are', async () => {
  await using log = new MemoryLog({ sleep });
  await using eu = await log.writer('eu');
  const last = await eu.append([runStart(1), heartbeat(1, 1)]);
  const stopping = new AbortController();
  const told: Told = { faults: new Map(), isAcknowledged: false };
  const port = new PortWithMark({ origin: 'us', position: positionOf(7), event_id: 'event 7.0', log_offset: 100 });
  const applier = applierOf(log, port, told);
  const run = applier.run(stopping.signal);
  await Promise.race([waitFor(() => told.isAcknowledged, { what: 'what is applied to be acknowledged' }), run]);
  assert.deepEqual(applier.waiting('eu'), { events: 0, oldest: null });
  assert.equal(applier.waiting('us'), null, 'what nobody reads is not known to be empty');
  stopping.abort();
  await run;
  assert.equal((told.faults.get('us') as { code?: string } | undefined)?.code, 'SYN-L003');
  assert.deepEqual(await log.acknowledged('eu'), new Map([[HOME, last]]));
  assert.deepEqual(await log.acknowledged('us'), new Map());
});

/** A log whose streams cannot be read any more at some point. */
class BreakingLog extends MemoryLog {
  isBroken = false;

  override async reader(stream: string): Promise<StreamReader> {
    const reader = await super.reader(stream);
    const read = reader.read.bind(reader);
    reader.read = async (...asked) => {
      if (this.isBroken && stream === 'eu') throw fail('SYN-L001', 'a gap');
      return await read(...asked);
    };
    return reader;
  }
}

test('what waits in a stream that breaks off while it is read is not known', async () => {
  await using log = new BreakingLog({ sleep });
  await using eu = await log.writer('eu');
  await eu.append([runStart(1), heartbeat(1, 1)]);
  const stopping = new AbortController();
  const told: Told = { faults: new Map(), isAcknowledged: false };
  const port = new ModelApplyPort(new ModelDatabase(HOME, () => NOW_MICROS), new ModelStore(), async () => {});
  const applier = applierOf(log, port, told);
  const run = applier.run(stopping.signal);
  await Promise.race([waitFor(() => told.isAcknowledged, { what: 'what is applied to be acknowledged' }), run]);
  assert.deepEqual(applier.waiting('eu'), { events: 0, oldest: null });
  log.isBroken = true;
  await eu.append([heartbeat(2, 2)]);
  await waitFor(() => applier.waiting('eu') === null, { what: 'the link to stand still' });
  assert.equal((told.faults.get('eu') as { code?: string } | undefined)?.code, 'SYN-L001');
  stopping.abort();
  await run;
});

test('a command whose turn does not come in time is withdrawn, and never done afterwards', async () => {
  await using log = new MemoryLog({ sleep });
  const stopping = new AbortController();
  const told: Told = { faults: new Map(), isAcknowledged: false };
  const port = new ModelApplyPort(new ModelDatabase(HOME, () => NOW_MICROS), new ModelStore(), async () => {});
  const asked: string[] = [];
  port.quarantined = async (eventIds) => {
    asked.push(...eventIds);
    return [];
  };
  const applier = applierOf(log, port, told, { commandWaitMs: 200 });
  await assert.rejects(applier.retry(['too early']), { code: 'SYN-P009' });
  const run = applier.run(stopping.signal);
  await waitFor(() => applier.waiting('eu') !== null, { what: 'apply to run' });
  // One that is refused has not been done either, and may be asked for again.
  await waitFor(async () => await applier.retry(['in time']), { what: 'a turn that comes in time' });
  assert.deepEqual(asked, ['in time']);
  stopping.abort();
  await run;
});
