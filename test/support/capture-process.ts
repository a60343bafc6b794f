// An agent's capture in a process of its own, for tests that kill it or measure its memory:
//
//   node capture-process.ts <url of the database> <region> <folder of the log, or "discard">
//
// It prints one line for each state, and, asked to end by SIGTERM, one with what it published and the
// most memory that it ever held. "discard" is a log that keeps nothing but its last record, so that
// only capture itself is measured; it answers with a delay, as disks do.

import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Capture } from '../../src/capture/capture.ts';
import { Lease } from '../../src/capture/lease.ts';
import { captureName } from '../../src/capture/tables/publication.ts';
import type { LogRecord } from '../../src/change/stream-record.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { Stability } from '../../src/clock/stability.ts';
import { EmbeddedLog } from '../../src/log/embedded/embedded-log.ts';
import type { EventLog, StoredRecord } from '../../src/log/event-log.ts';
import { MemoryLog } from '../../src/log/memory-log.ts';
import { scrub } from '../../src/platform/logger.ts';

const LEASE_LIMITS = { renewMs: 100, expiryMs: 1_000 };
const APPEND_MS = 5;

const print = (line: unknown): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

function discardingLog(): EventLog {
  let appended = 0;
  let last: StoredRecord | undefined;
  const log = new MemoryLog();
  const read = async (from: number): Promise<StoredRecord[]> =>
    last === undefined || last.offset < from ? [] : [last];
  return {
    writer: async () => ({
      append: async (records: readonly LogRecord[]) => {
        await delay(APPEND_MS);
        appended += records.length;
        const record = records.at(-1);
        if (record !== undefined) last = { ...record, offset: appended - 1 };
        return appended - 1;
      },
      trim: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    }),
    reader: async (stream) => ({
      stream,
      read,
      readBefore: async (before) => (await read(0)).filter(({ offset }) => offset < before),
      runBefore: async () => last?.run ?? -1,
      waitFor: async () => false,
      bounds: async () => (last === undefined ? null : { first: last.offset, last: last.offset }),
      sizeBytes: async () => 0,
      [Symbol.asyncDispose]: async () => undefined,
    }),
    acknowledge: (stream, consumer, offset) => log.acknowledge(stream, consumer, offset),
    acknowledged: (stream) => log.acknowledged(stream),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

const [url = '', region = '', folder = ''] = process.argv.slice(2);
const slot = captureName(region);
await using log = folder === 'discard' ? discardingLog() : await EmbeddedLog.open(folder);
await using lease = await Lease.acquire({ url, region, slot, limits: LEASE_LIMITS });
const options = {
  url,
  region,
  slot,
  log,
  lease,
  baseline: 'trust' as const,
  heartbeatMs: 100,
  members: () => [region],
  ledger: new NotesLedger(),
  stability: new Stability(region, []),
  publication: { name: slot, include: ['public.*'], exclude: [], identity: 'full' as const },
};
await using capture = Capture.start(options, { onState: (state) => print(scrub(state)) });
process.once('SIGTERM', () => void capture.stop());
await capture.ended;
print({ kind: 'done', ...capture.counts, memory_mb: Math.round(process.resourceUsage().maxRSS / 1024) });
