// The demo with its streams in Kafka.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startKafka } from '../../../src/platform/servers/embedded-kafka.ts';
import { checkStory, DemoFolder, OPEN } from '../../support/demo-process.ts';
import { adminOf } from '../../support/kafka-streams.ts';

/** Its own brokers, also where the tests are given a cluster. */
const OWN_BROKERS = { KAFKA_BROKERS: '' };

describe('the demo with Kafka', () => {
  let folder: DemoFolder;
  before(async () => {
    folder = await DemoFolder.create();
  });
  after(async () => await folder?.[Symbol.asyncDispose]());

  test('tells the same story, with a cluster for each region, and leaves nothing behind', async () => {
    const demo = folder.start(['--log', 'kafka', '--seconds', '6', '--json'], OWN_BROKERS);
    await demo.exit;
    checkStory(demo);
    assert.match(demo.stderr, /Starting a Kafka cluster of one broker for each region/);
    assert.deepEqual(await folder.leftovers(), []);
  });

  test('kill -9 leaves no broker and no file behind', async () => {
    const demo = folder.start(['--log', 'kafka', '--seconds', '600'], OWN_BROKERS);
    await demo.saying(OPEN);
    assert.equal((await folder.leftovers()).filter((each) => each.includes('kafka.Kafka ')).length, 3);
    demo.child.kill('SIGKILL');
    await demo.exit;
    await folder.isEmpty();
  });

  test('uses the cluster that KAFKA_BROKERS names, in topics of its own, and deletes them on Ctrl-C', async () => {
    await using broker = await startKafka();
    await using admin = adminOf(broker);
    const demo = folder.start(['--log', 'kafka', '--seconds', '600'], { KAFKA_BROKERS: broker.brokers.join() });
    await demo.saying(OPEN);
    const topics = (await admin.client.listTopics()).toSorted();
    const [prefix] = /syncline-demo-[0-9a-f]{8}/.exec(demo.stdout) ?? [];
    assert.deepEqual(
      topics,
      ['ap-south', 'eu-west', 'us-east'].flatMap((region) =>
        ['control', 'data'].map((kind) => `${prefix}.${region}.${region}.${kind}`),
      ),
    );
    demo.child.kill('SIGINT');
    await demo.exit;
    assert.equal(demo.child.exitCode, 130, demo.stderr);
    assert.deepEqual(await admin.client.listTopics(), []);
    assert.deepEqual(await folder.leftovers(), []);
  });

  test('says what to install where there is no Java', async () => {
    const demo = folder.start(['--log', 'kafka'], { ...OWN_BROKERS, JAVA_HOME: join(folder.path, 'no-java') });
    await demo.exit;
    assert.equal(demo.child.exitCode, 1);
    assert.match(demo.stderr, /SYN-D040/);
    assert.match(demo.stderr, /Install Java 17/);
    assert.deepEqual(await folder.leftovers(), []);
  });
});
