import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ModelApplyPort } from '../../test/simulation/model-apply-port.ts';
import { ModelDatabase } from '../../test/simulation/model-database.ts';
import { ModelStore } from '../../test/simulation/model-store.ts';
import { heartbeat, positionOf, runStart } from '../../test/support/stream-records.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { NotesLedger } from '../clock/notes-ledger.ts';
import { Stability } from '../clock/stability.ts';
import { MemoryLog } from '../log/memory-log.ts';
import { NO_MERGES } from '../resolve/known-merges.ts';
import { Applier } from './applier.ts';
import type { Mark } from './apply-port.ts';

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

test('a stream that does not hold what was applied of it is acknowledged no more, while others are', async () => {
  const sleep = async (ms: number, signal: AbortSignal): Promise<void> =>
    await delay(ms, undefined, { signal }).catch(() => undefined);
  await using log = new MemoryLog({ sleep });
  await using eu = await log.writer('eu');
  const last = await eu.append([runStart(1), heartbeat(1, 1)]);
  const faults = new Map<string, unknown>();
  const stopping = new AbortController();
  let isTold = false;
  const port = new PortWithMark({ origin: 'us', position: positionOf(7), event_id: 'event 7.0', log_offset: 100 });
  const applier = new Applier({
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
      isTold = true;
    },
    onFault: (origin, error) => faults.set(origin, error),
    onChoreFault: () => undefined,
  });
  const run = applier.run(stopping.signal);
  await Promise.race([waitFor(() => isTold, { what: 'what is applied to be acknowledged' }), run]);
  stopping.abort();
  await run;
  assert.equal((faults.get('us') as { code?: string } | undefined)?.code, 'SYN-L003');
  assert.deepEqual(await log.acknowledged('eu'), new Map([[HOME, last]]));
  assert.deepEqual(await log.acknowledged('us'), new Map());
});
