// A process of its own that writes or reads a stream of an embedded log, for tests that kill or stop it:
//
//   node embedded-log-process.ts write|read <directory> <stream>
//
// The writer opens a run and appends transactions at full speed, numbered from 1 on without a gap, also
// over its restarts; it prints `acked <number>` for each that is durable. The reader follows the
// stream, checks that the numbers have no gap and no repetition, and prints `seen <number>`.

import { writeSync } from 'node:fs';
import { positionLsn } from '../../src/change/position.ts';
import { EmbeddedLog } from '../../src/log/embedded/embedded-log.ts';
import { readTail } from '../../src/log/stream-tail.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { runStart, transaction } from './stream-records.ts';

const IN_FLIGHT = 4;
const EVENTS_MAX = 40;
const NOTE = 'x'.repeat(400);
const WAIT_MS = 1_000;

/** Synchronous, so that what was printed is out even if the process is killed right after. */
const print = (line: string): void => {
  writeSync(1, `${line}\n`);
};

async function write(log: EmbeddedLog, stream: string): Promise<never> {
  const writer = await log.writer(stream);
  const reader = await log.reader(stream);
  const { run, last } = await readTail(reader, 0n);
  let next = last === null ? 1 : Number(positionLsn(last.position)) + 1;
  await writer.append([runStart(run + 1)]);
  print(`writing ${next}`);
  const appendOn = async (): Promise<never> => {
    for (;;) {
      const lsn = next;
      next += 1;
      await writer.append(transaction(run + 1, lsn, (lsn % EVENTS_MAX) + 1, { note: NOTE }));
      print(`acked ${lsn}`);
    }
  };
  return Promise.race(Array.from({ length: IN_FLIGHT }, appendOn));
}

async function read(log: EmbeddedLog, stream: string): Promise<never> {
  const transactions = new TransactionReader(await log.reader(stream), 0);
  let seen = 0;
  print('reading 0');
  for (;;) {
    if (!(await transactions.fill(WAIT_MS))) continue;
    while (transactions.peek() !== undefined) {
      const item = transactions.shift();
      if (item.kind === 'run' || item.kind === 'heartbeat') continue;
      const lsn = Number(positionLsn(item.position));
      if (lsn !== seen + 1) throw new Error(`transaction ${lsn} follows ${seen}`);
      seen = lsn;
    }
    print(`seen ${seen}`);
  }
}

const [mode, directory = '', stream = ''] = process.argv.slice(2);
const log = await EmbeddedLog.open(directory);
await (mode === 'write' ? write(log, stream) : read(log, stream));
