// The decoder against bytes that no server should send: it ends in a typed error or in a message,
// never in a crash and never in a guess.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readPayloads } from '../../../test/fixtures/pgoutput/recording.ts';
import { SynclineError } from '../../platform/errors.ts';
import { PgoutputDecoder } from './pgoutput-decoder.ts';

describe('malformed payloads', () => {
  const payloads = readPayloads(18, 'leaf');

  /** Decodes what the server sent before, so that relations are known, then the bytes in question. */
  function decodeAfter(index: number, bytes: Buffer): void {
    const decoder = new PgoutputDecoder();
    for (const payload of payloads.slice(0, index)) decoder.decode(payload);
    decoder.decode(bytes);
  }

  const isProtocolError = (error: unknown): boolean => error instanceof SynclineError && error.code === 'SYN-K006';

  test('every message that ends early is refused', () => {
    const decoder = new PgoutputDecoder();
    for (const payload of payloads) {
      for (const length of new Set([0, 1, 5, payload.length >> 1, payload.length - 1])) {
        if (length < payload.length) assert.throws(() => decoder.decode(payload, 0, length), isProtocolError);
      }
      decoder.decode(payload);
    }
  });

  test('bytes after the end are refused', () => {
    payloads.forEach((payload, index) => {
      if (index % 10 === 0)
        assert.throws(() => decodeAfter(index, Buffer.concat([payload, Buffer.of(0)])), isProtocolError);
    });
  });

  test('streaming and two-phase messages, which nobody asked for, are refused', () => {
    for (const tag of ['S', 'E', 'c', 'A', 'b', 'P', 'K', 'r', 'p', 'x']) {
      assert.throws(() => new PgoutputDecoder().decode(Buffer.from(`${tag}${'\0'.repeat(40)}`)), isProtocolError);
    }
  });

  test('a row of a relation that was never sent is refused', () => {
    const insert = payloads.find((payload) => payload[0] === 0x49);
    assert.ok(insert);
    assert.throws(() => new PgoutputDecoder().decode(insert), isProtocolError);
  });

  test('binary columns, which nobody asked for, are refused', () => {
    const index = payloads.findIndex((payload) => payload[0] === 0x49);
    const bytes = Buffer.from(payloads[index] ?? []);
    const format = 1 + 4 + 1 + 2;
    assert.equal(bytes[format], 't'.charCodeAt(0));
    bytes[format] = 'b'.charCodeAt(0);
    assert.throws(() => decodeAfter(index, bytes), isProtocolError);
  });

  test('whatever the bytes are, the outcome is a message or a typed error', () => {
    const relations = payloads.filter((payload) => payload[0] === 'R'.charCodeAt(0));
    const mutation = fc.record({
      index: fc.nat(payloads.length - 1),
      cut: fc.option(fc.nat(4096), { nil: undefined }),
      changes: fc.array(fc.tuple(fc.nat(4096), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
    });
    fc.assert(
      fc.property(mutation, ({ index, cut, changes }) => {
        const bytes = Buffer.from((payloads[index] ?? Buffer.alloc(0)).subarray(0, cut));
        const decoder = new PgoutputDecoder();
        for (const relation of relations) decoder.decode(relation);
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        try {
          decoder.decode(bytes);
        } catch (error) {
          assert.ok(error instanceof SynclineError, String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });
});
