import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NotesLedger, type UntilFlushed } from './notes-ledger.ts';

const never: UntilFlushed = async () => assert.fail('everything that is told is durable');
const { signal } = new AbortController();
const noted = (max_hlc: bigint) => ({ seen: {}, max_hlc });

function withBatch(lsn: bigint, end: bigint): NotesLedger {
  const ledger = new NotesLedger();
  const token = ledger.batchStarts();
  ledger.batchNoted(token, lsn);
  ledger.batchCommitted(token, lsn, noted(lsn), end);
  return ledger;
}

test('what committed behind a batch has seen it, and is durable no sooner', async () => {
  const ledger = withBatch(100n, 120n);
  assert.equal((await ledger.below(100n, never, signal)).max_hlc, 0n);
  assert.equal((await ledger.below(120n, never, signal)).max_hlc, 100n);
});

test('what committed between the note of a batch and its commit waits until that is durable, once', async () => {
  const ledger = withBatch(100n, 120n);
  const flushes: bigint[] = [];
  const flush: UntilFlushed = async (lsn) => void flushes.push(lsn);
  assert.equal((await ledger.below(110n, flush, signal)).max_hlc, 100n);
  assert.equal((await ledger.below(111n, flush, signal)).max_hlc, 100n);
  assert.deepEqual(flushes, [120n]);
  await assert.rejects(
    withBatch(100n, 120n).below(
      110n,
      async () => {
        throw new Error('the server is gone');
      },
      signal,
    ),
    /the server is gone/,
  );
});

test('a batch that nobody is told of waits for none, though not for those before it', async () => {
  const ledger = withBatch(100n, 120n);
  const echo = ledger.batchStarts();
  ledger.batchNoted(echo, 115n);
  ledger.batchCommitted(echo, 115n, noted(0n), 115n);
  const flushes: bigint[] = [];
  await ledger.below(117n, async (lsn) => void flushes.push(lsn), signal);
  assert.deepEqual(flushes, [120n]);
});

test('where the lane begins anew meanwhile, what it had noted is asked for again', async () => {
  const ledger = withBatch(100n, 120n);
  const flushes: bigint[] = [];
  const flush: UntilFlushed = async (lsn) => {
    flushes.push(lsn);
    if (flushes.length === 1) ledger.reset([{ xid: 1, lsn: 90n, origin: 'us', ...noted(7n) }], 130n);
  };
  const found = await ledger.below(110n, flush, signal);
  assert.equal(found.max_hlc, 7n);
  assert.deepEqual(flushes, [120n, 130n]);
});

test('a batch in flight that may be below is waited for, and one that is not, is not', async () => {
  const ledger = new NotesLedger();
  const token = ledger.batchStarts();
  let isTold = false;
  const asking = ledger.below(100n, never, signal).then(() => {
    isTold = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isTold, false);
  ledger.batchNoted(token, 150n);
  await asking;
  assert.equal(ledger.isQuiet, false);
  ledger.batchAborted(token);
  await ledger.quiet(signal);
});

test('a wait for a batch of which nobody knows how it ended can be given up', async () => {
  const ledger = new NotesLedger();
  ledger.batchStarts();
  const over = new AbortController();
  const asking = assert.rejects(ledger.below(100n, never, over.signal), /the agent stops/);
  const waiting = assert.rejects(ledger.quiet(over.signal), /the agent stops/);
  over.abort(new Error('the agent stops'));
  await Promise.all([asking, waiting]);
  await assert.rejects(ledger.below(100n, never, over.signal), /the agent stops/);
});
