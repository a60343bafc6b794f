// A standby that the server waits for before it sends anything to capture, and that is away.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from '../support/cluster.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { waitFor } from '../support/wait-for.ts';

const LIMIT_MS = 60_000;
const COUNT = 'select count(*) from item';

// Older servers have no such setting.
if (DEFAULT_MAJOR >= 17) {
  test('an agent that starts while a standby is waited for applies, and publishes once it is waited for no more', async () => {
    await using cluster = await Cluster.start({
      regions: ['eu', 'us'],
      schema: 'create table item (id int primary key)',
    });
    const [eu, us] = [cluster.region('eu'), cluster.region('us')];
    await cluster.settle();
    assert.equal(await eu.stopAgent(), 0);
    await eu.sql("alter system set synchronized_standby_slots = 'nobody'");
    await eu.sql('select pg_reload_conf()');
    await waitFor(async () => (await eu.one('show synchronized_standby_slots')) === 'nobody', { what: 'the setting' });
    eu.startAgent();
    await us.sql('insert into item values (1)');
    await waitFor(async () => (await eu.one(COUNT)) === '1', { what: 'eu to apply', limitMs: LIMIT_MS });
    await waitFor(
      async () => (await (await fetch(`${eu.api}/readyz`)).text()).includes('capture is held up (SYN-P055)'),
      {
        what: 'eu to say that it publishes nothing',
        limitMs: LIMIT_MS,
      },
    );
    await eu.sql('insert into item values (2)');
    await eu.sql('alter system reset synchronized_standby_slots');
    await eu.sql('select pg_reload_conf()');
    await waitFor(async () => (await us.one(COUNT)) === '2', { what: 'eu to publish', limitMs: LIMIT_MS });
    await eu.agentReady();
    await cluster.settle();
  });
}
