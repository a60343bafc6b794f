import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { eventLogContract } from '../../test/support/event-log-contract.ts';
import { runStart, transaction } from '../../test/support/stream-records.ts';
import { MemoryLog } from './memory-log.ts';

const sleep = (delayMs: number, signal: AbortSignal): Promise<void> =>
  delay(delayMs, undefined, { signal }).catch(() => undefined);

eventLogContract('the memory log', async () => new MemoryLog({ sleep }));

describe('the memory log', () => {
  test('a crash in mid-append leaves a prefix and ends the writer, not the stream', async () => {
    const log = new MemoryLog();
    const writer = await log.writer('eu');
    const reader = await log.reader('eu');
    log.crashAppend('eu', 2);
    await assert.rejects(writer.append(transaction(1, 1, 5)), { code: 'SYN-L002' });
    await assert.rejects(writer.append(transaction(1, 2)), { code: 'SYN-L002' });
    assert.equal((await reader.read(0, { records_max: 10, bytes_max: 1e6 })).length, 2);
    const next = await log.writer('eu');
    assert.equal(await next.append([runStart(2)]), 2);
  });

  test('two writers append to one stream, as a zombie and its successor do', async () => {
    const log = new MemoryLog();
    const [zombie, successor] = [await log.writer('eu'), await log.writer('eu')];
    assert.equal(await zombie.append(transaction(1, 1)), 0);
    assert.equal(await successor.append([runStart(2)]), 1);
    assert.equal(await zombie.append(transaction(1, 2)), 2);
  });

  test('without a clock a wait ends by an append or its signal alone', async () => {
    const log = new MemoryLog();
    const reader = await log.reader('eu');
    const controller = new AbortController();
    const ends: string[] = [];
    const waits = [
      reader.waitFor(0, 1).then(() => ends.push('append')),
      reader.waitFor(5, 1, controller.signal).then(() => ends.push('signal')),
    ];
    await nextTurn();
    assert.deepEqual(ends, []);
    await (await log.writer('eu')).append([runStart(1)]);
    await waits[0];
    assert.deepEqual(ends, ['append']);
    controller.abort();
    await waits[1];
    assert.deepEqual(ends, ['append', 'signal']);
  });
});
