import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NotesLedger } from '../clock/notes-ledger.ts';
import { checkLedger } from './ledger-check.ts';

const NOTED = { seen: {}, max_hlc: 1n };

test('a ledger that knows of no batch is taken without a question', async () => {
  await checkLedger(new NotesLedger(), async () => assert.fail('nothing is asked'));
});

test('the newest note must be known to the server that is captured', async () => {
  const ledger = new NotesLedger();
  ledger.reset({ rows: [{ lsn: 40n, ...NOTED }], end: 48n });
  const asked: bigint[] = [];
  const answer = (isKnown: boolean) => async (lsn: bigint) => {
    asked.push(lsn);
    return isKnown;
  };
  await checkLedger(ledger, answer(true));
  await assert.rejects(checkLedger(ledger, answer(false)), { code: 'SYN-K024' });
  assert.deepEqual(asked, [40n, 40n]);
});

test('a batch whose end is not known is waited for: it may come to be the newest', async () => {
  const ledger = new NotesLedger();
  const token = ledger.batchStarts();
  ledger.batchNoted(token, 60n);
  const asked: bigint[] = [];
  const checking = checkLedger(ledger, async (lsn) => {
    asked.push(lsn);
    return true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(asked, []);
  ledger.batchCommitted(token, 60n, NOTED, 64n);
  await checking;
  assert.deepEqual(asked, [60n]);
});
