// A real broker starts, ends, comes back with its data, and does not outlive its parent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startKafka } from '../../src/platform/embedded-kafka.ts';
import { isAlive } from '../../src/platform/processes.ts';

test('starts on a port of its own, ends by a signal, and comes back on the same port', async () => {
  await using broker = await startKafka();
  const { pid, brokers } = broker;
  assert.ok(pid !== undefined && (await isAlive(pid)));
  await broker.kill();
  assert.equal(broker.pid, undefined);
  assert.equal(await isAlive(pid), false);
  await broker.restart();
  assert.deepEqual(broker.brokers, brokers);
  assert.notEqual(broker.pid, pid);
});
