import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatabaseError } from 'pg';
import type { PostgresClient, TextResult } from '../../platform/postgres.ts';
import { SqlPipeline } from './sql-pipeline.ts';

function failure(state: string): DatabaseError {
  const error = new DatabaseError(state, 0, 'error');
  error.code = state;
  return error;
}

/** Refuses what begins the transaction with that state, later or sooner than it refuses the statements behind it, with another. */
function refusing(state: string, behind: string, isLate: boolean): Pick<PostgresClient, 'query' | 'queryArrays'> {
  return {
    query: async () => {
      if (isLate) await new Promise((resolve) => setImmediate(resolve));
      throw failure(state);
    },
    queryArrays: async () => {
      throw failure(behind);
    },
  };
}

const WAYS = [
  { isLate: false, behind: '25P02', what: 'told sooner' },
  { isLate: true, behind: '25P02', what: 'told later' },
  { isLate: true, behind: '25006', what: 'of which nothing took effect' },
];
for (const { isLate, behind, what } of WAYS) {
  test(`what comes behind a beginning that failed fails with its error, ${what}`, async () => {
    const pipeline = new SqlPipeline(refusing('55000', behind, isLate));
    const told = new Error('there is no origin');
    pipeline.begin('select 0', (cause) => {
      assert.equal((cause as DatabaseError).code, '55000');
      return told;
    });
    for (const sent of await Promise.allSettled([pipeline.run('select 1'), pipeline.runOnce('select 2')])) {
      assert.equal(sent.status === 'rejected' && sent.reason, told);
    }
    await assert.rejects(pipeline.commit(), told);
  });
}

test('a commit outside of a transaction, which the server says is one, is none', async () => {
  const pipeline = new SqlPipeline({
    query: async () => {
      throw failure('57014');
    },
    queryArrays: async <Row>(sql: string) => ({ rows: [['0/8']] as Row[], rowCount: 0, command: sql.toUpperCase() }),
  });
  pipeline.begin('select 0', (cause) => cause);
  await assert.rejects(pipeline.commit(), (error: Error & { code?: string; cause?: { code?: string } }) => {
    return error.code === 'SYN-A002' && error.cause?.code === '57014';
  });
});

for (const end of ['commit', 'rollback'] as const) {
  test(`nothing is sent behind a ${end}`, async () => {
    const sent: string[] = [];
    const answer = async <Row>(sql: string): Promise<TextResult<Row>> => {
      sent.push(sql);
      return { rows: [['0/8']] as Row[], rowCount: 1, command: sql.toUpperCase() };
    };
    const pipeline = new SqlPipeline({ query: answer, queryArrays: answer });
    pipeline.begin('select 0', (cause) => cause);
    await Promise.all([pipeline.run('select 1'), pipeline[end]()]);
    await assert.rejects(pipeline.run('update t set v = 1'), { code: 'SYN-A002' });
    await assert.rejects(pipeline.commit(), { code: 'SYN-A002' });
    const isEndAsked = end === 'commit' ? ['select pg_current_wal_insert_lsn()'] : [];
    assert.deepEqual(sent, ['begin read write; select 0', 'select 1', end, ...isEndAsked]);
  });
}
