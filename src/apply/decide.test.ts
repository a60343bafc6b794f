import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../change/hlc.ts';
import type { Tuple } from './apply-port.ts';
import { type Current, echoRewrites, tupleVersion } from './decide.ts';

const DECIDED = 1_000n;

function tuple(changes: Partial<Tuple>): Tuple {
  return { xid: 7, stampMicros: DECIDED, writer: 'a', local: true, foreign: false, own: false, image: {}, ...changes };
}

describe('the tuple of a write whose stamp was pushed', () => {
  const image = { id: '1', v: 'x' };
  const write = {
    version: { hlc: hlcFromMicros(DECIDED + 5n), origin: 'a' },
    xid: 7,
    commitMicros: DECIDED,
    image,
  };
  const shown = (changes: Partial<Tuple>): Current => {
    const standing = tuple({ image, ...changes });
    return { tuple: standing, version: tupleVersion(standing, undefined) };
  };

  test('is rewritten at once where the write itself left it, or an older event of another region took its place', () => {
    assert.equal(echoRewrites(shown({}), write), 'yes');
    assert.equal(echoRewrites(shown({ xid: 9, local: false, writer: 'b' }), write), 'yes');
  });

  test('is rewritten once the transaction is through where a subtransaction may have left it', () => {
    assert.equal(echoRewrites(shown({ xid: 8 }), write), 'once it is through');
    assert.equal(echoRewrites(shown({ xid: 8, foreign: true, stampMicros: 3n }), write), 'once it is through');
  });

  test('is left where it holds other values, was committed at another time, or is newer', () => {
    assert.equal(echoRewrites(shown({ xid: 8, image: { id: '1', v: 'y' } }), write), 'no');
    assert.equal(echoRewrites(shown({ xid: 8, stampMicros: DECIDED + 1n }), write), 'no');
    assert.equal(echoRewrites(shown({ xid: 9, local: false, writer: 'b', stampMicros: DECIDED + 9n }), write), 'no');
    assert.equal(echoRewrites(null, write), 'no');
  });
});
