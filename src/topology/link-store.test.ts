import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { fail } from '../platform/errors.ts';
import type { TextResult, TextRow, TextValue } from '../platform/postgres.ts';
import { LinkStore } from './link-store.ts';

const ROW: TextRow = {
  link_id: 'us:eu',
  source_region: 'us',
  target_region: 'eu',
  status: 'active',
  last_acked_event_id: null,
  updated_at: '2026-01-01T00:00:00.000000Z',
  mode: 'async',
  lag_slo_ms: '10000',
  bandwidth_limit_bytes_per_s: null,
  failover_priority: '0',
  tables: null,
};

/** Answers every select and returning clause with one link, and remembers the writes. */
class FakeDatabase {
  readonly writes: { sql: string; values: readonly TextValue[] }[] = [];
  failure: Error | undefined;

  async query(sql: string, values: readonly TextValue[] = []): Promise<TextResult> {
    if (!sql.startsWith('select')) this.writes.push({ sql, values });
    if (this.failure !== undefined) throw this.failure;
    const rows = /^select|returning/.test(sql) ? [ROW] : [];
    return { rows, rowCount: rows.length, command: 'X' };
  }
}

async function openStore(onFlushError?: (error: unknown) => void) {
  const database = new FakeDatabase();
  const store = new LinkStore(database, 'eu', { flushIntervalMs: 1_000, ...(onFlushError ? { onFlushError } : {}) });
  await store.open(['us', 'ap']);
  database.writes.length = 0;
  return { database, store };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const first = '01890000-0000-7000-8000-000000000001';
const second = '01890000-0000-7000-8000-000000000002';

describe('acknowledgements', () => {
  test('are visible at once and written at a bounded rate, the newest only', async (context) => {
    context.after(() => mock.timers.reset());
    mock.timers.enable({ apis: ['setTimeout'] });
    const { database, store } = await openStore();
    for (let count = 0; count < 1_000; count += 1) store.acknowledged('us:eu', count % 2 === 0 ? first : second);
    assert.equal(store.link('us:eu').last_acked_event_id, second);
    assert.equal(database.writes.length, 0);
    mock.timers.tick(1_000);
    await turn();
    assert.deepEqual(
      database.writes.map(({ values }) => values),
      [['{"us:eu"}', `{"${second}"}`]],
    );
    mock.timers.tick(10_000);
    await turn();
    assert.equal(database.writes.length, 1, 'an idle link writes nothing');
  });

  test('that could not be written are written with the next ones', async () => {
    const errors: unknown[] = [];
    const { database, store } = await openStore((error) => errors.push(error));
    store.acknowledged('us:eu', first);
    database.failure = fail('SYN-P009', 'away');
    await assert.rejects(store.flush(), { code: 'SYN-P009' });
    database.failure = undefined;
    await store[Symbol.asyncDispose]();
    assert.deepEqual(database.writes.at(-1)?.values, ['{"us:eu"}', `{"${first}"}`]);
    assert.deepEqual(errors, []);
  });

  test('at the end are written, or told of', async () => {
    const errors: unknown[] = [];
    const { database, store } = await openStore((error) => errors.push(error));
    store.acknowledged('us:eu', first);
    database.failure = fail('SYN-P009', 'away');
    await store[Symbol.asyncDispose]();
    assert.equal(errors.length, 1);
  });
});

describe('links', () => {
  test('of other targets name their owner, all else is unknown', async () => {
    const { store } = await openStore();
    for (const id of ['eu:us', 'ap:us']) {
      assert.throws(() => store.link(id), { code: 'SYN-T002', context: { owner: 'us' } }, id);
    }
    for (const id of ['zz:us', 'eu:eu', 'us:us', 'eu', '', 'eu:us:ap', 'zz:eu']) {
      assert.throws(() => store.link(id), { code: 'SYN-T001' }, id);
    }
  });

  test('a patch writes what it names and nothing else', async () => {
    const { database, store } = await openStore();
    await store.patch('us:eu', { status: 'paused', tables: ['public.*'], bandwidth_limit_bytes_per_s: null });
    const [write] = database.writes;
    assert.match(
      write?.sql ?? '',
      /set status = \$2, tables = \$3, bandwidth_limit_bytes_per_s = \$4, updated_at = clock_timestamp\(\)/,
    );
    assert.deepEqual(write?.values, ['us:eu', 'paused', '["public.*"]', null]);
    await assert.rejects(store.patch('eu:us', { status: 'paused' }), { code: 'SYN-T002' });
  });
});
