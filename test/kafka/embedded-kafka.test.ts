// A real broker serves clients, ends by a signal, comes back with its data, and does not outlive its
// parent.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { isAlive } from '../../src/platform/servers/processes.ts';
import { plainKafka } from '../support/kafka-cluster.ts';
import { KafkaTopic } from '../support/kafka-topic.ts';
import { waitFor } from '../support/wait-for.ts';

const MODULE = join(import.meta.dirname, '../../src/platform/servers/embedded-kafka.ts');

/** A process that starts a broker, tells its pid and addresses, and lives until it is killed. */
async function startInChild(directory?: string) {
  const options = directory === undefined ? {} : { directory };
  const script = `
    import { startKafka } from ${JSON.stringify(MODULE)};
    const { pid, directory, brokers } = await startKafka(${JSON.stringify(options)});
    console.log(JSON.stringify({ pid, directory, brokers }));
    setInterval(() => undefined, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const broker = JSON.parse(line.toString()) as { pid: number; directory: string; brokers: string[] };
  return { ...broker, kill: () => child.kill('SIGKILL') };
}

test('a client sends texts to a cluster and reads them back', async () => {
  await using cluster = await plainKafka();
  const topic = await new KafkaTopic(cluster.brokers).create();
  await topic.send('a', 'ä', '');
  await topic.send('b');
  assert.deepEqual(await topic.read(4), ['a', 'ä', '', 'b']);
});

test('what was acknowledged is there after a kill and a restart, on the same port', async () => {
  await using broker = await startKafka();
  const { brokers, pid } = broker;
  const topic = await new KafkaTopic(brokers).create();
  for (let round = 0; round < 3; round += 1) {
    await topic.send(`before kill ${round}`);
    await broker.kill();
    assert.equal(broker.pid, undefined);
    await broker.restart();
  }
  assert.ok(pid !== undefined && !(await isAlive(pid)));
  assert.deepEqual(broker.brokers, brokers);
  assert.deepEqual(await topic.read(3), ['before kill 0', 'before kill 1', 'before kill 2']);
});

test('a paused broker answers nobody, goes on where it was, and can be stopped', async () => {
  await using broker = await startKafka();
  const topic = await new KafkaTopic(broker.brokers).create();
  broker.pause();
  let isSent = false;
  const sending = topic.send('late').then(() => {
    isSent = true;
  });
  await assert.rejects(fetch(`http://${broker.brokers[0]}`, { signal: AbortSignal.timeout(500) }));
  assert.equal(isSent, false);
  broker.resume();
  await sending;
  assert.deepEqual(await topic.read(1), ['late']);
  broker.pause();
  await broker.stop();
  assert.equal(broker.pid, undefined);
});

test('settings can be changed, and a broker that refuses them tells why', async () => {
  await using broker = await startKafka({ overrides: { 'message.max.bytes': '2000' } });
  const topic = await new KafkaTopic(broker.brokers).create();
  await assert.rejects(topic.send('x'.repeat(5_000)));
  await broker.restart({ 'message.max.bytes': '10000' });
  await topic.send('x'.repeat(5_000));
  await assert.rejects(broker.restart({ 'log.dirs': '' }), { code: 'SYN-D043', message: /log\.dirs/ });
});

test('a port that is taken, and rights without a way to tell clients apart, are refused at once', async () => {
  await using broker = await startKafka();
  await assert.rejects(startKafka({ port: broker.port }), { code: 'SYN-D043', message: /port \d+ is taken/ });
  await assert.rejects(startKafka({ security: { acls: { superUsers: [] } } }), /tell its clients apart/);
});

test('a broker does not outlive the process that started it, even when that is killed', async () => {
  const child = await startInChild();
  assert.equal(await isAlive(child.pid), true);
  child.kill();
  await waitFor(async () => !(await isAlive(child.pid)) && !existsSync(child.directory), {
    what: 'the broker and its folder are gone',
  });
});

test('a folder that was named outlives everything, and can be started again elsewhere', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'syncline kafka ä '));
  try {
    const child = await startInChild(directory);
    const topic = await new KafkaTopic(child.brokers).create();
    await topic.send('kept');
    child.kill();
    await waitFor(async () => !(await isAlive(child.pid)), { what: 'the broker is gone' });
    await using broker = await startKafka({ directory });
    assert.notDeepEqual(broker.brokers, child.brokers);
    assert.deepEqual(await new KafkaTopic(broker.brokers, { name: topic.name }).read(1), ['kept']);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
