import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NoteRow } from './note-store.ts';
import { NotesLedger, type NotesServer } from './notes-ledger.ts';

const around: NotesServer['around'] = async () => assert.fail('everything that is asked for is held');
const flushing = (untilFlushed: NotesServer['untilFlushed']): NotesServer => ({ around, untilFlushed });
const never = flushing(async () => assert.fail('everything that is told is durable'));
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
  const flush = flushing(async (lsn) => void flushes.push(lsn));
  assert.equal((await ledger.below(110n, flush, signal)).max_hlc, 100n);
  assert.equal((await ledger.below(111n, flush, signal)).max_hlc, 100n);
  assert.deepEqual(flushes, [120n]);
  await assert.rejects(
    withBatch(100n, 120n).below(
      110n,
      flushing(async () => {
        throw new Error('the server is gone');
      }),
      signal,
    ),
    /the server is gone/,
  );
});

test('a batch that nobody is told of waits for none, though not for those before it', async () => {
  const ledger = withBatch(100n, 120n);
  const echo = ledger.batchStarts();
  ledger.batchNoted(echo, 115n);
  ledger.batchCommitted(echo, 115n, noted(100n), 115n);
  const flushes: bigint[] = [];
  await ledger.below(
    117n,
    flushing(async (lsn) => void flushes.push(lsn)),
    signal,
  );
  assert.deepEqual(flushes, [120n]);
});

test('where the lane begins anew meanwhile, what it had noted is asked for again', async () => {
  const ledger = withBatch(100n, 120n);
  const flushes: bigint[] = [];
  const flush = flushing(async (lsn) => {
    flushes.push(lsn);
    if (flushes.length === 1) ledger.reset({ rows: [{ lsn: 90n, ...noted(7n) }], end: 130n });
  });
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

/** A database that has all notes, each a number of its own. */
class Notes implements NotesServer {
  readonly rows: NoteRow[] = [];
  reads = 0;
  /** The most notes that were read at once. */
  most = 0;
  beforeTold = (): void => undefined;

  add(lsn: bigint): void {
    this.rows.push({ lsn, ...noted(lsn) });
  }

  newest(): { readonly rows: readonly NoteRow[]; readonly end: bigint } {
    return { rows: this.rows.slice(-1), end: this.end };
  }

  get end(): bigint {
    return (this.rows.at(-1)?.lsn ?? 0n) + 1n;
  }

  newestBelow(lsn: bigint): bigint {
    return this.rows.findLast((row) => row.lsn < lsn)?.lsn ?? 0n;
  }

  async around(lsn: bigint, limit: number) {
    this.reads += 1;
    const first = this.rows.findLastIndex((row) => row.lsn < lsn);
    const next = this.rows.findIndex((row) => row.lsn >= lsn);
    const rows = this.rows.slice(first === -1 ? 0 : first, next === -1 ? undefined : next + limit);
    const read = { rows, end: this.end };
    this.most = Math.max(this.most, rows.length);
    this.beforeTold();
    return read;
  }

  async untilFlushed(): Promise<void> {}
}

function committed(ledger: NotesLedger, notes: Notes, lsn: bigint): void {
  const token = ledger.batchStarts();
  ledger.batchNoted(token, lsn);
  notes.add(lsn);
  ledger.batchCommitted(token, lsn, noted(lsn), lsn + 1n);
}

test('however many notes there are, a few are held, and a capture that comes after reads them a page at a time', async () => {
  const notes = new Notes();
  const ledger = new NotesLedger(100);
  for (let lsn = 10n; lsn <= 10_000n; lsn += 10n) committed(ledger, notes, lsn);
  for (let lsn = 5n; lsn <= 10_005n; lsn += 5n) {
    assert.equal((await ledger.below(lsn, notes, signal)).max_hlc, notes.newestBelow(lsn));
    if (lsn % 50n === 0n) ledger.prune(lsn);
  }
  assert.equal(notes.most, 101);
  assert.ok(notes.reads <= 10, `${notes.reads} pages of 100 for 1,000 notes`);
  const { reads } = notes;
  for (let lsn = 10_010n; lsn <= 12_000n; lsn += 10n) {
    committed(ledger, notes, lsn);
    assert.equal((await ledger.below(lsn + 1n, notes, signal)).max_hlc, lsn);
    ledger.prune(lsn + 1n);
  }
  assert.equal(notes.reads, reads, 'one that keeps pace reads none');
});

test('what a batch in flight has noted may be read before the lane reports it', async () => {
  const notes = new Notes();
  for (const lsn of [10n, 20n, 30n]) notes.add(lsn);
  const ledger = new NotesLedger(100);
  ledger.reset(notes.newest());
  const token = ledger.batchStarts();
  ledger.batchNoted(token, 40n);
  notes.add(40n);
  assert.equal((await ledger.below(25n, notes, signal)).max_hlc, 20n);
  ledger.batchCommitted(token, 40n, noted(40n), 41n);
  committed(ledger, notes, 50n);
  for (const lsn of [35n, 45n, 55n]) {
    assert.equal((await ledger.below(lsn, notes, signal)).max_hlc, notes.newestBelow(lsn));
  }
  assert.equal(notes.reads, 1);
});

test('what was read is dropped where the lane has begun anew meanwhile', async () => {
  const notes = new Notes();
  for (const lsn of [10n, 20n, 30n]) notes.add(lsn);
  const ledger = new NotesLedger(100);
  ledger.reset(notes.newest());
  const restored = new Notes();
  for (const lsn of [12n, 18n]) restored.add(lsn);
  notes.beforeTold = () => ledger.reset(restored.newest());
  const server: NotesServer = {
    around: async (lsn, limit) => await (notes.reads === 0 ? notes : restored).around(lsn, limit),
    untilFlushed: async () => undefined,
  };
  assert.equal((await ledger.below(15n, server, signal)).max_hlc, 12n);
  assert.deepEqual([notes.reads, restored.reads], [1, 1]);
});

test('what a session has read of one server counts for no session with another', async () => {
  const ledger = new NotesLedger(100);
  const before = new Notes();
  for (const lsn of [10n, 20n, 30n, 40n, 50n]) before.add(lsn);
  const promoted = new Notes();
  for (const lsn of [10n, 20n, 32n, 60n]) promoted.add(lsn);
  ledger.reset(promoted.newest());
  const flushes: string[] = [];
  const session = (name: string, notes: Notes): NotesServer => ({
    around: async (lsn, limit) => await notes.around(lsn, limit),
    untilFlushed: async () => void flushes.push(name),
  });
  const [one, other] = [session('before', before), session('promoted', promoted)];
  assert.equal((await ledger.below(45n, one, signal)).max_hlc, 40n);
  assert.equal((await ledger.below(45n, other, signal)).max_hlc, 32n);
  assert.equal((await ledger.below(31n, other, signal)).max_hlc, 20n);
  assert.deepEqual([flushes, promoted.reads], [['before', 'promoted'], 2]);
});

test('a server without the notes that apply has left is refused', async () => {
  const ledger = new NotesLedger(100);
  const notes = new Notes();
  notes.add(30n);
  ledger.reset(notes.newest());
  await assert.rejects(ledger.below(20n, new Notes(), signal), { code: 'SYN-K024' });
  assert.equal((await ledger.below(20n, notes, signal)).max_hlc, 0n);
});

test('is what a list of all notes is, whatever it holds of them', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('commit' as const), by: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant('ask' as const), at: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ kind: fc.constant('prune' as const), at: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ kind: fc.constant('reset' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), async (notesMax, steps) => {
      const notes = new Notes();
      const ledger = new NotesLedger(notesMax);
      let pruned = 0n;
      const placeAt = (at: number): bigint => pruned + BigInt(Math.round(at * Number(notes.end + 2n - pruned)));
      for (const each of steps) {
        if (each.kind === 'commit') committed(ledger, notes, notes.end + BigInt(each.by));
        else if (each.kind === 'reset') ledger.reset(notes.newest());
        else if (each.kind === 'prune') {
          pruned = placeAt(each.at);
          ledger.prune(pruned);
        } else {
          const lsn = placeAt(each.at) + 1n;
          assert.equal((await ledger.below(lsn, notes, signal)).max_hlc, notes.newestBelow(lsn));
        }
        assert.equal(ledger.newestLsn, notes.rows.at(-1)?.lsn ?? 0n);
      }
    }),
  );
});
