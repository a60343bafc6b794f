import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hopeless, waitFor } from './wait-for.ts';

test('waits until the condition gives something, and returns that', async () => {
  let calls = 0;
  const value = await waitFor(
    () => {
      calls += 1;
      if (calls === 1) throw new Error('not even there');
      return calls < 4 ? 0 : calls;
    },
    { what: 'the fourth call' },
  );
  assert.equal(value, 4);
});

test('at the limit the error tells what was waited for and what was seen last', async () => {
  await assert.rejects(
    waitFor(() => false, { what: 'the impossible', limitMs: 5 }),
    { message: 'not within 5 ms: the impossible (last: false)' },
  );
  const cause = new Error('no such table');
  await assert.rejects(
    waitFor(() => Promise.reject(cause), { what: 'the table', limitMs: 5 }),
    { message: 'not within 5 ms: the table (last: no such table)', cause },
  );
});

test('waits no longer once it is hopeless', async () => {
  let calls = 0;
  const hopeless = new Hopeless('the server has ended');
  const wait = waitFor(
    () => {
      calls += 1;
      throw hopeless;
    },
    { what: 'the server' },
  );
  await assert.rejects(wait, hopeless);
  assert.equal(calls, 1);
});
