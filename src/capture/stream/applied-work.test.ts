import assert from 'node:assert/strict';
import { test } from 'node:test';
import { APPLIED_PREFIX, AppliedWork, appliedWord } from './applied-work.ts';
import type { PgoutputMessage, RelationMessage } from './pgoutput-messages.ts';

const BEGIN: PgoutputMessage = { kind: 'begin', finalLsn: 1n, commitTimeMicros: 1n, xid: 7 };
const WORD = appliedWord('secret', 7);
const RELATION: RelationMessage = {
  kind: 'relation',
  oid: 1,
  schema: 'public',
  table: 't',
  replicaIdentity: 'f',
  columns: [],
};
const INSERT: PgoutputMessage = { kind: 'insert', relationOid: 1, relation: RELATION, new: [] };

const origin = (name: string): PgoutputMessage => ({ kind: 'origin', commitLsn: 1n, name });
const message = (content: string, prefix = APPLIED_PREFIX, transactional = true): PgoutputMessage => {
  return { kind: 'message', transactional, lsn: 1n, prefix, content: Buffer.from(content) };
};

/** Whether it is apply's after these. */
function isApplied(messages: readonly PgoutputMessage[], secret: string | null = 'secret'): boolean {
  const work = new AppliedWork('syncline_5_', secret);
  for (const each of messages) work.next(each);
  return work.isUnderWay;
}

test('an origin of this database tells, and no other', () => {
  assert.equal(isApplied([BEGIN, origin('syncline_5_us'), RELATION, INSERT]), true);
  assert.equal(isApplied([BEGIN, origin('syncline_55_us'), INSERT]), false);
  assert.equal(isApplied([BEGIN, origin('pg_16395'), INSERT]), false);
});

test('so does a message with the word of this transaction, before any change', () => {
  assert.equal(isApplied([BEGIN, message(WORD), RELATION, INSERT]), true);
  assert.equal(isApplied([BEGIN, RELATION, INSERT, message(WORD)]), false, 'behind a change');
  assert.equal(isApplied([BEGIN, message('x', 'syncline.claim'), message(WORD)]), false, 'behind another message');
  for (const guess of ['secret', appliedWord('guess', 7), appliedWord('secret', 8), ''])
    assert.equal(isApplied([BEGIN, message(guess), INSERT]), false, guess);
  assert.equal(isApplied([BEGIN, message(WORD, 'syncline.other'), INSERT]), false);
  assert.equal(isApplied([BEGIN, message(WORD, APPLIED_PREFIX, false), INSERT]), false, 'not of the transaction');
  assert.equal(isApplied([BEGIN, message(appliedWord('null', 7)), INSERT], null), false, 'nobody has a secret');
});

test('it tells of one transaction', () => {
  assert.equal(isApplied([BEGIN, message(WORD), INSERT, BEGIN, INSERT]), false);
  assert.equal(isApplied([BEGIN, origin('syncline_5_us'), INSERT, BEGIN]), false);
});
