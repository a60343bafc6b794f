// The stream over a socket in memory, where a test decides what arrives together and what does not.

import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, mock, type TestContext, test } from 'node:test';
import { readRecording } from '../../../test/fixtures/pgoutput/recording.ts';
import { SynclineError } from '../../platform/errors.ts';
import { AppliedWork } from './applied-work.ts';
import { ReplicationStream, type StreamItem, type StreamLimits, type StreamOptions } from './replication-stream.ts';

const LIMITS: StreamLimits = {
  queueBytesMax: 16 * 1024,
  frameBytesMax: 1024 * 1024,
  statusIntervalMs: 1000,
  confirmDelayMs: 50,
  shutdownGraceMs: 3000,
  silenceLimitMs: 10_000,
  stopLimitMs: 2000,
};

const COPY_BOTH = frame('W', Buffer.of(0, 0, 0));
const RECORDED = readRecording(18, 'leaf').map((content) => frame('d', content));
const SHUTDOWN = frame('C', Buffer.from('COPY 0\0'));

function frame(tag: string, content: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(tag, 'latin1');
  header.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([header, content]);
}

/** A message of the output plugin. */
function message(content: Buffer): Buffer {
  return frame('d', Buffer.concat([Buffer.from('w'), Buffer.alloc(24), content]));
}

function serverError(sqlState: string, routine: string): Buffer {
  return frame('E', Buffer.from(`SERROR\0VERROR\0C${sqlState}\0Mtext\0R${routine}\0\0`));
}

function keepalive(walEnd: bigint, replyRequested: boolean): Buffer {
  const content = Buffer.alloc(18);
  content.write('k');
  content.writeBigUInt64BE(walEnd, 1);
  content[17] = replyRequested ? 1 : 0;
  return frame('d', content);
}

/** Both ends, with timers that move only when the test says so. */
class Fixture {
  readonly server: Duplex;
  readonly stream: ReplicationStream;
  readonly #received: Buffer[] = [];

  constructor(context: TestContext, limits: Partial<StreamLimits> = {}, options: StreamOptions = {}) {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    context.after(() => mock.timers.reset());
    const [ours, server] = duplexPair();
    this.server = server;
    this.server.on('data', (chunk: Buffer) => this.#received.push(chunk));
    this.server.on('error', () => undefined);
    this.stream = new ReplicationStream(ours, 0n, { ...LIMITS, ...limits }, {}, options);
  }

  async send(...frames: readonly Buffer[]): Promise<void> {
    this.server.write(Buffer.concat(frames));
    await settle();
  }

  /** The flushed positions of the status updates since the last call. */
  async takeUpdates(): Promise<bigint[]> {
    await settle();
    const bytes = Buffer.concat(this.#received.splice(0));
    assert.equal(bytes.length % 39, 0);
    const updates: bigint[] = [];
    for (let at = 0; at < bytes.length; at += 39) {
      const [written, flushed, applied] = [6, 14, 22].map((field) => bytes.readBigUInt64BE(at + field));
      assert.ok(written === flushed && flushed === applied && flushed !== undefined);
      updates.push(flushed);
    }
    return updates;
  }

  async tick(ms: number): Promise<void> {
    mock.timers.tick(ms);
    await settle();
  }
}

/** Lets everything that is due without a timer happen. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function readAll(stream: ReplicationStream): Promise<{ items: StreamItem[]; failure: unknown }> {
  const items: StreamItem[] = [];
  try {
    for await (const item of stream) items.push(item);
    return { items, failure: undefined };
  } catch (failure) {
    return { items, failure };
  }
}

const codeOf = (error: unknown): string => (error instanceof SynclineError ? error.code : String(error));

describe('replication stream', () => {
  test('the switch, rows and the end in one chunk: all rows, then the failure', async (context) => {
    const { stream, server } = new Fixture(context);
    server.write(Buffer.concat([COPY_BOTH, ...RECORDED, SHUTDOWN]));
    await stream.started;
    const { items, failure } = await readAll(stream);
    assert.equal(items.length, RECORDED.length);
    assert.equal(codeOf(failure), 'SYN-K003');
  });

  test('an error instead of the switch is the reason why it did not start', async (context) => {
    const { stream, server } = new Fixture(context);
    server.write(serverError('42704', 'ReplicationSlotAcquire'));
    await assert.rejects(stream.started, (error) => codeOf(error) === 'SYN-K001');
  });

  test('a server that does not answer the start counts as lost', async (context) => {
    const fixture = new Fixture(context);
    const rejected = assert.rejects(fixture.stream.started, (error) => codeOf(error) === 'SYN-K003');
    for (let second = 0; second <= 10; second += 1) await fixture.tick(1000);
    await rejected;
  });

  test('a server that says nothing is asked, and then counts as lost', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH);
    const reading = readAll(fixture.stream);
    for (let second = 0; second < 10; second += 1) await fixture.tick(1000);
    await fixture.send(keepalive(1n, false));
    for (let second = 0; second < 10; second += 1) await fixture.tick(1000);
    assert.equal((await fixture.takeUpdates()).length, 20);
    await fixture.tick(1000);
    assert.equal(codeOf((await reading).failure), 'SYN-K003');
  });

  test('a server that says nothing is waited for while it is known to be at work', async (context) => {
    const answers = [true, true, false];
    const isAtWork = async (): Promise<boolean> => {
      const answer = answers.shift();
      assert.ok(typeof answer === 'boolean');
      return answer;
    };
    const fixture = new Fixture(context, {}, { isAtWork });
    await fixture.send(COPY_BOTH);
    const reading = readAll(fixture.stream);
    for (let second = 0; second < 22; second += 1) await fixture.tick(1000);
    assert.deepEqual(answers, [false]);
    await fixture.send(keepalive(1n, false));
    for (let second = 0; second <= 10; second += 1) await fixture.tick(1000);
    const { items, failure } = await reading;
    assert.equal(items.length, 1);
    assert.equal(codeOf(failure), 'SYN-K003');
  });

  test('a server of which nobody knows whether it is at work counts as lost, unless it speaks meanwhile', async (context) => {
    const asked: PromiseWithResolvers<boolean>[] = [];
    const isAtWork = (): Promise<boolean> => {
      const answer = Promise.withResolvers<boolean>();
      asked.push(answer);
      return answer.promise;
    };
    const fixture = new Fixture(context, {}, { isAtWork });
    await fixture.send(COPY_BOTH);
    const reading = readAll(fixture.stream);
    for (let second = 0; second < 20; second += 1) await fixture.tick(1000);
    assert.equal(asked.length, 1);
    await fixture.send(keepalive(1n, false));
    asked[0]?.reject(new Error('too late'));
    for (let second = 0; second <= 10; second += 1) await fixture.tick(1000);
    assert.equal(asked.length, 2);
    asked[1]?.reject(new Error('the network is gone'));
    const { items, failure } = await reading;
    assert.equal(items.length, 1);
    assert.match(String(failure), /does not answer another connection/);
  });

  test('a message that cannot be decoded fails the stream, and nothing after it is handed out', async (context) => {
    const { stream, server } = new Fixture(context);
    const broken = message(Buffer.from('?'));
    server.write(Buffer.concat([COPY_BOTH, ...RECORDED.slice(0, 3), broken, ...RECORDED.slice(3)]));
    const { items, failure } = await readAll(stream);
    assert.equal(items.length, 3);
    assert.equal(codeOf(failure), 'SYN-K006');
  });

  test('an error behind rows that are left out reaches a consumer that waits', async (context) => {
    const fixture = new Fixture(context, {}, { applied: new AppliedWork('syncline_5_', null) });
    const begin = message(Buffer.concat([Buffer.from('B'), Buffer.alloc(20)]));
    const origin = message(Buffer.concat([Buffer.from('O'), Buffer.alloc(8), Buffer.from('syncline_5_us\0')]));
    const insert = message(Buffer.from('I'));
    const ends: Awaited<ReturnType<typeof readAll>>[] = [];
    void readAll(fixture.stream).then((end) => ends.push(end));
    await fixture.send(COPY_BOTH, begin, origin);
    await fixture.send(insert, serverError('57P01', 'ProcessInterrupts'));
    const found = ends.map(({ items, failure }) => [items.map(({ kind }) => kind), codeOf(failure)]);
    assert.deepEqual(found, [[['begin', 'origin'], 'SYN-K003']]);
  });

  test('a row above the limit is told of, and where apply wrote it left out', async (context) => {
    const applied = new AppliedWork('syncline_5_', null);
    const fixture = new Fixture(context, { frameBytesMax: 1000 }, { applied });
    const relation = message(Buffer.from('R\0\0\0\x01public\0t\0f\0\0'));
    const insert = message(Buffer.concat([Buffer.from('I\0\0\0\x01'), Buffer.alloc(1000)]));
    const begin = message(Buffer.concat([Buffer.from('B'), Buffer.alloc(20)]));
    const origin = message(Buffer.concat([Buffer.from('O'), Buffer.alloc(8), Buffer.from('syncline_5_us\0')]));
    const reading = readAll(fixture.stream);
    await fixture.send(COPY_BOTH, begin, relation, insert, begin, origin, insert, SHUTDOWN);
    const { items } = await reading;
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ['begin', 'relation', 'oversized', 'begin', 'origin'],
    );
  });

  test('a full queue holds the socket, and reading releases it', async (context) => {
    const fixture = new Fixture(context, { queueBytesMax: 1000 });
    await fixture.send(COPY_BOTH);
    for (const recorded of RECORDED) fixture.server.write(recorded);
    await settle();
    assert.equal(fixture.stream.isPaused, true);
    assert.ok(fixture.stream.queuedBytes < 16 * 1024, `${fixture.stream.queuedBytes} bytes are queued`);
    fixture.server.write(SHUTDOWN);
    const reading = readAll(fixture.stream);
    for (let turn = 0; turn < RECORDED.length; turn += 1) await fixture.tick(1);
    assert.equal((await reading).items.length, RECORDED.length);
  });

  test('confirmations share an update, which reports the highest', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH, keepalive(100n, false));
    await fixture.stream[Symbol.asyncIterator]().next();
    for (const lsn of [10n, 30n, 20n]) fixture.stream.confirm(lsn);
    assert.deepEqual(await fixture.takeUpdates(), []);
    await fixture.tick(LIMITS.confirmDelayMs);
    assert.deepEqual(await fixture.takeUpdates(), [30n]);
    await fixture.tick(LIMITS.confirmDelayMs);
    assert.deepEqual(await fixture.takeUpdates(), []);
    assert.throws(() => fixture.stream.confirm(101n), { name: 'InvariantViolation' });
  });

  test('receiving and delivering confirm nothing', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH, ...RECORDED, keepalive(1n << 60n, true));
    const reading = readAll(fixture.stream);
    await fixture.tick(1000);
    const updates = await fixture.takeUpdates();
    assert.equal(updates.length, 2);
    assert.deepEqual(new Set(updates), new Set([0n]));
    await fixture.send(SHUTDOWN);
    await reading;
  });

  test('a request for a reply is answered before it is consumed', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH, ...RECORDED.slice(0, 3), keepalive(1n, true));
    assert.equal((await fixture.takeUpdates()).length, 1);
  });

  test('a server that asks for replies again and again is let go after a while', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH);
    const reading = readAll(fixture.stream);
    for (let second = 0; second <= 3; second += 1) {
      assert.equal(fixture.server.destroyed, false);
      for (let request = 0; request < 5; request += 1) await fixture.send(keepalive(1n, true));
      await fixture.tick(1000);
    }
    assert.equal(codeOf((await reading).failure), 'SYN-K003');
  });

  test('stop says goodbye in order, and drops what was not consumed', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH, keepalive(7n, false));
    await fixture.stream[Symbol.asyncIterator]().next();
    fixture.stream.confirm(7n);
    await fixture.send(...RECORDED);
    const received: Buffer[] = [];
    fixture.server.on('data', (chunk: Buffer) => received.push(chunk));
    const stopped = fixture.stream.stop();
    await fixture.send(frame('c', Buffer.alloc(0)), SHUTDOWN, frame('Z', Buffer.from('I')));
    fixture.server.end();
    await stopped;
    const goodbye = Buffer.concat(received);
    assert.equal(goodbye.readBigUInt64BE(14), 7n);
    assert.deepEqual(goodbye.subarray(39), Buffer.from([0x63, 0, 0, 0, 4, 0x58, 0, 0, 0, 4]));
    assert.deepEqual(await readAll(fixture.stream), { items: [], failure: undefined });
  });

  test('stop does not wait for ever', async (context) => {
    const fixture = new Fixture(context);
    await fixture.send(COPY_BOTH);
    const reading = readAll(fixture.stream);
    const stopped = fixture.stream.stop();
    await fixture.tick(LIMITS.stopLimitMs);
    await fixture.tick(LIMITS.stopLimitMs);
    await stopped;
    assert.deepEqual(await reading, { items: [], failure: undefined });
  });
});
