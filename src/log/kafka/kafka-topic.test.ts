import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryBroker } from '../../../test/support/memory-broker.ts';
import { PassingTime } from '../../../test/support/passing-time.ts';
import { heartbeat, runStart } from '../../../test/support/stream-records.ts';

describe('a topic', () => {
  test('that a broker does not know of for a moment is not gone', async () => {
    const broker = new MemoryBroker();
    const { shared, data } = broker.stream();
    data.append([runStart(1)]);
    await shared.data.place();
    let looks = 0;
    broker.beforeAnswer = (what) => {
      if (what !== 'locate') return;
      looks += 1;
      if (looks < 3) broker.topics.delete(data.name);
      else broker.topics.set(data.name, data);
    };
    shared.data.forgetPlace();
    assert.deepEqual(await shared.data.extent(), { first: 0, end: 1 });
    assert.equal(looks, 3);
  });

  test('that stays away is gone, and one of another id is another one at once', async (context) => {
    const time = new PassingTime(context);
    const broker = new MemoryBroker();
    const { shared, data } = broker.stream();
    data.append([runStart(1)]);
    await shared.data.place();
    broker.topics.delete(data.name);
    shared.data.forgetPlace();
    await assert.rejects(time.until(shared.data.place()), { code: 'SYN-L065', message: /is gone/ });
    broker.topic(data.name, '00000000-0000-0000-0000-000000000009');
    await assert.rejects(shared.data.place(), { code: 'SYN-L065', message: /was made anew/ });
  });

  test('is not asked of a leader that was deposed, whose end is behind', async () => {
    const broker = new MemoryBroker();
    const { shared, data } = broker.stream();
    broker.elect();
    data.append([runStart(1), heartbeat(1, 1)]);
    assert.deepEqual(await shared.data.extent(), { first: 0, end: 2 });
    // A broker that does not know of the new leader names the old one, which does not know of it either.
    let looks = 0;
    const { leaderEpoch } = broker;
    data.append([heartbeat(1, 2)]);
    shared.data.saw(3);
    broker.beforeAnswer = (what) => {
      if (what === 'locate') looks += 1;
      broker.leaderEpoch = looks < 3 ? leaderEpoch - 1 : leaderEpoch;
      data.toldEnd = looks < 3 ? 2 : null;
    };
    shared.data.forgetPlace();
    assert.deepEqual(await shared.data.extent(), { first: 0, end: 3 });
    const fetched = await shared.data.fetch(2, -1, { maxWaitMs: 0, bytesMax: 1_000 });
    assert.equal(fetched?.next, 3);
    assert.equal(looks, 3);
  });

  test('is asked of its leader alone, once that is another one', async () => {
    const broker = new MemoryBroker();
    const { shared, data } = broker.stream();
    data.append([runStart(1)]);
    await shared.data.place();
    broker.elect();
    let looks = 0;
    broker.beforeAnswer = (what) => {
      if (what === 'locate') looks += 1;
    };
    assert.deepEqual(await shared.data.extent(), { first: 0, end: 1 });
    broker.elect();
    assert.equal((await shared.data.fetch(0, -1, { maxWaitMs: 0, bytesMax: 1_000 }))?.next, 1);
    assert.equal(looks, 2);
  });
});
