import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heartbeat, runStart } from '../../test/support/stream-records.ts';
import type { StreamReader, StreamWriter } from './event-log.ts';
import { type CheckedMark, checkMark } from './mark-check.ts';
import { MemoryLog } from './memory-log.ts';

/** Behind the heartbeat of that number, which stands at the offset of that number. */
const markAt = (lsn: number, event_id = `heartbeat ${lsn}`): CheckedMark => {
  return { origin: 'eu', event_id, log_offset: lsn + 1 };
};

/** A stream of one run and heartbeats up to 5. */
async function stream(): Promise<{ reader: StreamReader; writer: StreamWriter }> {
  const log = new MemoryLog();
  const writer = await log.writer('eu');
  await writer.append([runStart(1), ...[1, 2, 3, 4, 5].map((lsn) => heartbeat(1, lsn))]);
  return { reader: await log.reader('eu'), writer };
}

test('a mark passes whose event is there, or was trimmed up to there', async () => {
  const { reader, writer } = await stream();
  await checkMark(markAt(3), reader);
  await writer.trim(4);
  await checkMark(markAt(3), reader);
});

test('a log that holds something else at a mark, ends before it or begins behind it is told', async () => {
  const { reader, writer } = await stream();
  await assert.rejects(checkMark(markAt(3, 'another'), reader), { code: 'SYN-L003' });
  await assert.rejects(checkMark(markAt(6), reader), { code: 'SYN-L003' });
  await writer.trim(5);
  await assert.rejects(checkMark(markAt(3), reader), { code: 'SYN-L004' });
});

test('nothing at a mark is no pass: neither the end of what can be read nor a record behind it', async () => {
  const { reader } = await stream();
  const read = reader.read.bind(reader);
  for (const given of [[], await read(4, { records_max: 1, bytes_max: 1 })]) {
    reader.read = async () => given;
    await assert.rejects(checkMark(markAt(3), reader), { code: 'SYN-L003', message: /nothing at offset 3/ });
  }
});

test('what is trimmed while it is looked at is not missed', async () => {
  const { reader, writer } = await stream();
  const read = reader.read.bind(reader);
  reader.read = async (from, limit) => {
    await writer.trim(4);
    return await read(from, limit);
  };
  await checkMark(markAt(3), reader);
});
