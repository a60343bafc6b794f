// A publisher with everything that it needs, and transactions to send through it.
import assert from 'node:assert/strict';
import { ActiveMerges } from '../../src/capture/publish/active-merges.ts';
import type { RowChange } from '../../src/capture/publish/decoded-transaction.ts';
import { Publisher, type PublisherOptions } from '../../src/capture/publish/publisher.ts';
import type { LogRecord } from '../../src/change/stream-record.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { Stability } from '../../src/clock/stability.ts';
import { Stamper } from '../../src/clock/stamper.ts';

export const EPOCH = '1700000000000000000';
export const REGION = 'eu';
export const START_MICROS = 1_700_000_000_000_000n;

/** What a slot sends: transactions in WAL order. */
export type Sent = {
  readonly xid: number;
  readonly lsn: bigint;
  readonly commitMicros: bigint;
  readonly rows: readonly RowChange[];
  readonly members?: readonly string[];
};

export const change = (id: string, more: Partial<RowChange> = {}): RowChange => ({
  schema: 'public',
  table: 't',
  operation: 'INSERT',
  key: ['id'],
  before: null,
  after: { id, note: `note ${id}` },
  ...more,
});

export const sent = (place: number, rows: readonly RowChange[], more: Partial<Sent> = {}): Sent => ({
  xid: 700 + place,
  lsn: BigInt(place) * 100n,
  commitMicros: START_MICROS + BigInt(place),
  rows,
  ...more,
});

export const endOf = ({ lsn }: Sent): bigint => lsn + 50n;

export type Made = { publisher: Publisher; records: LogRecord[]; confirmed: bigint[] };

export function make(options: Partial<PublisherOptions> = {}): Made {
  const records: LogRecord[] = [];
  const confirmed: bigint[] = [];
  const publisher = new Publisher({
    region: REGION,
    run: 1,
    epoch: EPOCH,
    fork: null,
    after: null,
    writer: {
      append: (batch) => {
        records.push(...batch);
        return Promise.resolve(records.length);
      },
    },
    ledger: new NotesLedger(),
    notesServer: { around: async () => assert.fail('no note is read'), untilFlushed: async () => {} },
    stamper: new Stamper(),
    merges: new ActiveMerges(REGION),
    stability: new Stability(REGION, ['us']),
    resumeAfter: null,
    confirmedLsn: 0n,
    predecessor: null,
    onDurable: (lsn) => confirmed.push(lsn),
    ...options,
  });
  return { publisher, records, confirmed };
}

export async function send(publisher: Publisher, transaction: Sent): Promise<void> {
  await publisher.begin(transaction);
  for (const row of transaction.rows) await publisher.change(row);
  if (transaction.members !== undefined) publisher.heartbeat({ members: transaction.members });
  await publisher.commit(endOf(transaction));
}
