// Regions as users run them, whose streams are in Kafka.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { agentStatus, linkFrom } from '../support/agent-client.ts';
import { Cluster } from '../support/cluster.ts';
import { waitFor } from '../support/wait-for.ts';

const SCHEMA = 'create table item (id int primary key, note text, changed_by text)';

describe('regions whose streams are in Kafka', () => {
  let broker: KafkaBroker;
  before(async () => {
    broker = await startKafka();
  });
  after(async () => await broker?.[Symbol.asyncDispose]());

  const log = (): string =>
    `{ type: kafka, brokers: ["${broker.brokers[0]}"], topic_prefix: ${randomBytes(6).toString('hex')}. }`;

  test('end equal, also what was written while the broker was away, and agents killed', async () => {
    await using cluster = await Cluster.start({ regions: ['eu', 'us'], schema: SCHEMA, log: log() });
    const [eu, us] = [cluster.region('eu'), cluster.region('us')];
    await eu.sql(`insert into item select i, 'from eu', 'eu' from generate_series(1, 2000) i`);
    await us.sql(`insert into item select i, 'from us', 'us' from generate_series(2001, 4000) i`);
    // A row of 20 MB, which no topic takes as one record.
    await us.sql(`insert into item select 10000, string_agg(md5(i::text), ''), 'us' from generate_series(1, 625000) i`);
    await cluster.settle();
    const all = 'select id, md5(note), length(note), changed_by from item order by id';
    assert.equal((await cluster.equal(all)).length, 4_001);
    assert.equal(await eu.one('select length(note) from item where id = 10000'), '20000000');

    await broker.kill();
    await eu.sql(`update item set note = 'meanwhile', changed_by = 'eu' where id % 2 = 0`);
    await us.killAgent();
    await us.sql(`update item set note = 'meanwhile too', changed_by = 'us' where id % 3 = 0`);
    await waitFor(async () => (await agentStatus(eu)).capture.problem?.code === 'SYN-L060', {
      what: 'capture to say that the brokers are away',
      limitMs: 60_000,
    });
    us.startAgent();
    await broker.restart();
    await us.agentReady();
    await cluster.settle();
    const rows = await cluster.equal('select * from item order by id');
    assert.equal(
      rows.filter(([id]) => Number(id) % 6 === 0).every(([, note]) => note?.startsWith('meanwhile')),
      true,
    );
  });

  test('go on among themselves while the cluster of one of them is away, also where an agent starts then', async () => {
    await using far = await startKafka();
    const prefix = randomBytes(6).toString('hex');
    const place = ({ brokers }: KafkaBroker): string =>
      `{ type: kafka, brokers: ["${brokers[0]}"], topic_prefix: ${prefix}. }`;
    const options = { regions: ['ap', 'eu', 'us'], schema: SCHEMA, agents: false };
    await using cluster = await Cluster.start({
      ...options,
      logs: { ap: place(far), eu: place(broker), us: place(broker) },
    });
    await cluster.startAgents();
    const [ap, eu, us] = [cluster.region('ap'), cluster.region('eu'), cluster.region('us')];
    for (const { name, sql } of bound(cluster))
      await sql(`insert into item values (${name.charCodeAt(0)}, '${name}', '')`);
    await cluster.settle();

    await far.kill();
    await ap.sql(`insert into item values (1, 'while away', 'ap')`);
    await eu.stopAgent();
    eu.startAgent();
    await eu.agentReady();
    await us.sql(`insert into item values (2, 'among us', 'us')`);
    await waitFor(async () => (await eu.one('select note from item where id = 2')) === 'among us', {
      what: `eu to apply what us wrote; its agent printed:\n${eu.output.slice(-4_000)}`,
    });
    assert.equal((await linkFrom('ap', eu)).reason?.code, 'SYN-L060');
    await far.restart();
    await cluster.settle();
    assert.equal((await cluster.equal('select id, note from item order by id')).length, 5);
    assert.equal((await linkFrom('ap', eu)).reason, null);
  });
});

function bound(cluster: Cluster): { name: string; sql: (text: string) => Promise<unknown> }[] {
  return cluster.regions.map((region) => ({ name: region.name, sql: async (text) => await region.sql(text) }));
}
