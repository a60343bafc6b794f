import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlushWatch } from './flush-watch.ts';

function watched() {
  const ends = { inserted: 0n, flushed: 0n };
  const told: string[] = [];
  const state = { committed: 'nothing', looks: 0 };
  const port = {
    walEnds: async () => {
      state.looks += 1;
      return { ...ends };
    },
  };
  const watch = new FlushWatch(port, () => {
    const { committed } = state;
    return () => told.push(committed);
  });
  const commit = (what: string, inserted: bigint): void => {
    Object.assign(state, { committed: what });
    ends.inserted = inserted;
    watch.moved();
  };
  return { ends, told, state, watch, commit };
}

test('what is committed is told once it is durable, and nothing that came later', async () => {
  const { ends, told, watch, commit } = watched();
  commit('a', 100n);
  await watch.look();
  assert.deepEqual(told, []);
  commit('b', 200n);
  await watch.look();
  ends.flushed = 99n;
  await watch.look();
  assert.deepEqual(told, []);
  ends.flushed = 100n;
  await watch.look();
  assert.deepEqual(told, ['a']);
  ends.flushed = 200n;
  await watch.look();
  assert.deepEqual(told, ['a', 'b']);
});

test('what is durable at the first look is told at once', async () => {
  const { ends, told, watch, commit } = watched();
  commit('a', 100n);
  ends.flushed = 100n;
  await watch.look();
  assert.deepEqual(told, ['a']);
});

test('where nothing has moved, nothing is asked', async () => {
  const { ends, state, watch, commit } = watched();
  await watch.look();
  commit('a', 100n);
  ends.flushed = 100n;
  await watch.look();
  await watch.look();
  assert.equal(state.looks, 1);
});
