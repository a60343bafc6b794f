import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Tuple } from './apply-port.ts';
import { isLocalSince } from './decide.ts';

const DECIDED = 1_000n;

function tuple(changes: Partial<Tuple>): Tuple {
  return { xid: 7, stampMicros: DECIDED, writer: 'a', local: true, foreign: false, own: false, image: {}, ...changes };
}

describe('a local row that an operator decided about', () => {
  test('is later where it was committed after the decision, by the clock of both', () => {
    assert.equal(isLocalSince(tuple({ stampMicros: DECIDED + 1n }), DECIDED), true);
    assert.equal(isLocalSince(tuple({ stampMicros: DECIDED }), DECIDED), false);
    assert.equal(isLocalSince(tuple({ stampMicros: DECIDED - 1n }), DECIDED), false);
  });

  test('is later where another tool wrote it, whatever time that states: its echo is still to come', () => {
    assert.equal(isLocalSince(tuple({ foreign: true, stampMicros: 0n }), DECIDED), true);
  });

  test('is not later where PostgreSQL has no commit time of it any more', () => {
    assert.equal(isLocalSince(tuple({ stampMicros: null }), DECIDED), false);
  });

  test('is not later where apply wrote it', () => {
    assert.equal(isLocalSince(tuple({ local: false, stampMicros: DECIDED + 1n }), DECIDED), false);
  });
});
