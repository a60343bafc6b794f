import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryBroker, type MemoryTopic } from '../../../test/support/memory-broker.ts';
import { recordBody } from './kafka-batch.ts';

const OLD = '00000000-0000-0000-0000-000000000009';
const COVERAGE = { covered_to: 4, steps: [[0, 1]] };

function tell(control: MemoryTopic, key: string, topic_id: string | null, value: unknown): void {
  control.add([recordBody(key, Buffer.from(JSON.stringify({ topic_id, value })), [])]);
}

describe('a control topic', () => {
  test('goes by nothing that is late, of a data topic that was there before', async () => {
    const { data, control, shared } = new MemoryBroker().stream();
    tell(control, 'ack us', null, 2);
    tell(control, 'topic', data.id, null);
    tell(control, 'runs', data.id, COVERAGE);
    tell(control, 'ack us', data.id, 3);
    for (const key of ['ack us', 'ack ap']) tell(control, key, OLD, 9);
    tell(control, 'runs', OLD, { covered_to: 99, steps: [[0, 7]] });
    assert.deepEqual([...(await shared.control.acknowledged(data.id))], [['us', 3]]);
    assert.deepEqual(await shared.control.runs(data.id), COVERAGE);
  });

  test('that was there before the data topic tells so', async () => {
    const { data, control, shared } = new MemoryBroker().stream();
    tell(control, 'ack us', OLD, 9);
    tell(control, 'ack us', data.id, 3);
    await assert.rejects(shared.control.acknowledged(data.id), { code: 'SYN-L065' });
    await assert.rejects(shared.control.runs(null), { code: 'SYN-L065' });
  });
});
