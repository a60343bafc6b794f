import assert from 'node:assert/strict';
import { test } from 'node:test';
import { APPLIED_PREFIX, AppliedWork } from './applied-work.ts';
import type { PgoutputMessage, RelationMessage } from './pgoutput-messages.ts';

const BEGIN: PgoutputMessage = { kind: 'begin', finalLsn: 1n, commitTimeMicros: 1n, xid: 1 };
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

test('so does a message that knows the secret, before any change', () => {
  assert.equal(isApplied([BEGIN, message('secret'), RELATION, INSERT]), true);
  assert.equal(isApplied([BEGIN, RELATION, INSERT, message('secret')]), false, 'behind a change');
  assert.equal(isApplied([BEGIN, message('x', 'syncline.claim'), message('secret')]), false, 'behind another message');
  assert.equal(isApplied([BEGIN, message('guess'), INSERT]), false);
  assert.equal(isApplied([BEGIN, message(''), INSERT]), false);
  assert.equal(isApplied([BEGIN, message('secret', 'syncline.other'), INSERT]), false);
  assert.equal(isApplied([BEGIN, message('secret', APPLIED_PREFIX, false), INSERT]), false, 'not of the transaction');
  assert.equal(isApplied([BEGIN, message('null'), INSERT], null), false, 'nobody has a secret');
});

test('it tells of one transaction', () => {
  assert.equal(isApplied([BEGIN, message('secret'), INSERT, BEGIN, INSERT]), false);
  assert.equal(isApplied([BEGIN, origin('syncline_5_us'), INSERT, BEGIN]), false);
});
