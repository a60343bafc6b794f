import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatabaseError } from 'pg';
import type { PostgresClient, TextResult } from '../platform/postgres.ts';
import { SqlPipeline } from './sql-pipeline.ts';

function failure(state: string): DatabaseError {
  const error = new DatabaseError(state, 0, 'error');
  error.code = state;
  return error;
}

/** Refuses what begins the transaction with that state, later or sooner than it refuses the statements behind it. */
function refusing(state: string, isLate: boolean): Pick<PostgresClient, 'query' | 'queryArrays'> {
  return {
    query: async () => {
      if (isLate) await new Promise((resolve) => setImmediate(resolve));
      throw failure(state);
    },
    queryArrays: async () => {
      throw failure('25P02');
    },
  };
}

for (const isLate of [false, true]) {
  test(`what comes behind a beginning that failed fails with its error, told ${isLate ? 'later' : 'sooner'}`, async () => {
    const pipeline = new SqlPipeline(refusing('55000', isLate));
    const told = new Error('there is no origin');
    pipeline.begin('begin', (cause) => {
      assert.equal((cause as DatabaseError).code, '55000');
      return told;
    });
    for (const sent of await Promise.allSettled([pipeline.run('select 1'), pipeline.runOnce('select 2')])) {
      assert.equal(sent.status === 'rejected' && sent.reason, told);
    }
    await assert.rejects(pipeline.commit(), told);
  });
}

for (const end of ['commit', 'rollback'] as const) {
  test(`nothing is sent behind a ${end}`, async () => {
    const sent: string[] = [];
    const answer = async <Row>(sql: string): Promise<TextResult<Row>> => {
      sent.push(sql);
      return { rows: [['0/8']] as Row[], rowCount: 1, command: sql.toUpperCase() };
    };
    const pipeline = new SqlPipeline({ query: answer, queryArrays: answer });
    pipeline.begin('begin', (cause) => cause);
    await Promise.all([pipeline.run('select 1'), pipeline[end]()]);
    await assert.rejects(pipeline.run('update t set v = 1'), { code: 'SYN-A002' });
    await assert.rejects(pipeline.commit(), { code: 'SYN-A002' });
    const isEndAsked = end === 'commit' ? ['select pg_current_wal_insert_lsn()'] : [];
    assert.deepEqual(sent, ['begin', 'select 1', end, ...isEndAsked]);
  });
}
