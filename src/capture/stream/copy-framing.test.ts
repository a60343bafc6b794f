import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readRecording } from '../../../test/fixtures/pgoutput/recording.ts';
import { SynclineError } from '../../platform/errors.ts';
import { type BackendFrame, CopyFraming, XLogData } from './copy-framing.ts';

function frame(tag: string, content: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(tag, 'latin1');
  header.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([header, content]);
}

const strings = (...texts: readonly string[]): Buffer => Buffer.from(texts.map((text) => `${text}\0`).join(''));

function keepalive(walEnd: bigint, postgresMicros: bigint, replyRequested: boolean): Buffer {
  const content = Buffer.alloc(18);
  content.write('k');
  content.writeBigUInt64BE(walEnd, 1);
  content.writeBigInt64BE(postgresMicros, 9);
  content[17] = replyRequested ? 1 : 0;
  return frame('d', content);
}

const report = (severity: string, sqlState: string): Buffer =>
  Buffer.concat([
    strings('SFEHLER', `V${severity}`, `C${sqlState}`, 'Mdie Meldung', 'Fslot.c', 'L42', 'RReplicationSlotAcquire'),
    Buffer.of(0),
  ]);

/** A frame as plain values, so that frames over different buffers compare equal. */
function plain(value: BackendFrame): unknown {
  if (!(value instanceof XLogData)) return value;
  const { kind, walStart, walEnd, serverTimeMicros, payload } = value;
  return { kind, walStart, walEnd, serverTimeMicros, payload: payload.toString('hex') };
}

function framesOf(chunks: Iterable<Buffer>, frameBytesMax?: number): unknown[] {
  const frames: unknown[] = [];
  const framing = new CopyFraming((value) => frames.push(plain(value)), frameBytesMax);
  for (const chunk of chunks) framing.push(chunk);
  return frames;
}

/** The whole life of a stream: the switch, rows of a real server, keepalives, notices, its end. */
const WHOLE_STREAM = Buffer.concat([
  frame('W', Buffer.of(0, 0, 0)),
  ...readRecording(18, 'leaf').map((content) => frame('d', content)),
  keepalive(0x16_b374_d848n, 1n, true),
  frame('N', report('WARNING', '55000')),
  frame('S', strings('application_name', 'syncline')),
  frame('c', Buffer.alloc(0)),
  frame('C', strings('START_REPLICATION')),
  frame('Z', Buffer.from('I')),
]);

describe('copy framing', () => {
  test('a whole stream in one chunk', () => {
    const frames = framesOf([WHOLE_STREAM]);
    assert.equal(frames.length, readRecording(18, 'leaf').length + 7);
    assert.deepEqual(frames[0], { kind: 'copy-both' });
    assert.deepEqual(frames.slice(-6), [
      { kind: 'keepalive', walEnd: 0x16_b374_d848n, serverTimeMicros: 946_684_800_000_001n, replyRequested: true },
      {
        kind: 'notice',
        report: {
          severity: 'WARNING',
          sqlState: '55000',
          message: 'die Meldung',
          detail: undefined,
          hint: undefined,
          file: 'slot.c',
          routine: 'ReplicationSlotAcquire',
        },
      },
      { kind: 'parameter-status', name: 'application_name', value: 'syncline' },
      { kind: 'copy-done' },
      { kind: 'command-complete', tag: 'START_REPLICATION' },
      { kind: 'ready-for-query' },
    ]);
  });

  test('rows carry their positions and the time of the server', () => {
    const [content] = readRecording(18, 'leaf');
    assert.ok(content);
    const frames: BackendFrame[] = [];
    new CopyFraming((value) => frames.push(value)).push(frame('d', content));
    const [row] = frames;
    assert.ok(row instanceof XLogData);
    assert.equal(row.walStart, content.readBigUInt64BE(1));
    assert.equal(row.walEnd, content.readBigUInt64BE(9));
    assert.equal(row.serverTimeMicros, content.readBigInt64BE(17) + 946_684_800_000_000n);
    assert.deepEqual(row.payload, content.subarray(25));
  });

  test('any split into chunks gives the same frames', () => {
    const expected = framesOf([WHOLE_STREAM]);
    fc.assert(
      fc.property(fc.array(fc.nat(WHOLE_STREAM.length), { maxLength: 300 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), WHOLE_STREAM.length];
        const chunks = at.slice(1).map((end, index) => WHOLE_STREAM.subarray(at[index], end));
        assert.deepEqual(framesOf(chunks), expected);
      }),
      { numRuns: 50 },
    );
    assert.deepEqual(framesOf([...WHOLE_STREAM].map((byte) => Buffer.of(byte))), expected);
  });

  test('a frame that spans chunks does not share memory with them', () => {
    const bytes = frame('S', strings('name', 'value'));
    const frames: BackendFrame[] = [];
    const framing = new CopyFraming((value) => frames.push(value));
    const chunk = Buffer.alloc(4);
    for (let at = 0; at < bytes.length; at += chunk.length) {
      const length = bytes.copy(chunk, 0, at);
      framing.push(chunk.subarray(0, length));
    }
    assert.deepEqual(frames, [{ kind: 'parameter-status', name: 'name', value: 'value' }]);
  });

  const hasCode = (code: string) => (error: unknown) => error instanceof SynclineError && error.code === code;

  test('a frame above the limit is told of by its first bytes and skipped, whatever the split', () => {
    const row = Buffer.concat([Buffer.from('w'), Buffer.alloc(24), Buffer.from('I'), Buffer.of(0, 0, 1, 2)]);
    const bytes = Buffer.concat([
      keepalive(1n, 0n, false),
      frame('d', Buffer.concat([row, Buffer.alloc(1000)])),
      keepalive(2n, 0n, false),
    ]);
    const frameBytes = 5 + row.length + 1000;
    const told = { kind: 'oversized', tag: 0x49, oid: 258, frameBytes };
    const [before, , behind] = framesOf([bytes], frameBytes);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const frames = framesOf([bytes.subarray(0, cut), bytes.subarray(cut)], frameBytes - 1);
      assert.deepEqual(frames, [before, told, behind]);
    }
    const split = [...bytes].map((byte) => Buffer.of(byte));
    assert.deepEqual(framesOf(split, frameBytes - 1), [before, told, behind]);
  });

  test('what is above the limit and no message of the output plugin is refused, and what came before it handed on', () => {
    const frames: BackendFrame[] = [];
    const framing = new CopyFraming((value) => frames.push(value), 100);
    const chunk = Buffer.concat([keepalive(1n, 0n, false), frame('E', Buffer.alloc(1000))]);
    assert.throws(() => framing.push(chunk), hasCode('SYN-K007'));
    assert.deepEqual(
      frames.map((value) => value.kind),
      ['keepalive'],
    );
  });

  test('bytes that are not of this protocol are refused', () => {
    const malformed: readonly Buffer[] = [
      frame('?', Buffer.alloc(0)),
      Buffer.from([0x64, 0, 0, 0, 3]),
      frame('d', Buffer.alloc(0)),
      frame('d', Buffer.from('x')),
      frame('d', Buffer.from('w too short')),
      frame('d', Buffer.from('k too short')),
      frame('C', Buffer.from('no end')),
      frame('E', Buffer.from('Mno end')),
    ];
    for (const bytes of malformed) assert.throws(() => framesOf([bytes]), hasCode('SYN-K006'), bytes.toString());
  });

  test('whatever the bytes are, the outcome is frames or a typed error', () => {
    const changes = fc.array(fc.tuple(fc.nat(WHOLE_STREAM.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(changes, (edits) => {
        const bytes = Buffer.from(WHOLE_STREAM);
        for (const [at, value] of edits) bytes[at] = value;
        try {
          framesOf([bytes], 64 * 1024);
        } catch (error) {
          assert.ok(error instanceof SynclineError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });
});
