/** What a giant transaction leaves in memory: the piece under way, whatever its size. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { madeEvent } from '../../../test/support/made-event.ts';
import { ONE_TABLE } from '../../../test/support/one-table.ts';
import { eventId } from '../../change/event-id.ts';
import { makePosition } from '../../change/position.ts';
import type { ApplyTransaction, LookAgain, RowKey, TableShape, VersionEntry } from '../apply-port.ts';
import type { ChainLink, SourceTransaction } from '../net-change.ts';
import { BatchRecord } from './batch-record.ts';

const SHAPE: TableShape = { ...ONE_TABLE, columns: ['id'] };
const CLAIMING: TableShape = { ...SHAPE, id: '"public"."claiming"', table: 'claiming', hasClaims: true };
const SOURCE: SourceTransaction = {
  position: makePosition('0000000000000000001', 7n),
  hlc: 700n,
  seen: {},
  xid: 1,
  committed_at: '2026-01-01T00:00:00.000000Z',
  events: [],
};
const NONE = (): ReadonlySet<RowKey> => new Set();

function link(index: number): ChainLink {
  const event = madeEvent('eu', SOURCE.hlc, {
    event_id: eventId(SOURCE.hlc, 'eu', SOURCE.position, index),
    row_pk: { id: `${index}` },
    operation: 'INSERT',
    before_image: null,
    after_image: { id: `${index}` },
    committed_at: SOURCE.committed_at,
    transaction: { id: 1, epoch: '', commit_lsn: '', index, last: false, predecessor: null, seen: {} },
  });
  return { event, source: SOURCE, removes: false };
}

/** What is sent, statement by statement. */
class Sent {
  readonly versions: (readonly VersionEntry[])[] = [];
  readonly tombstones: (readonly VersionEntry[])[] = [];
  readonly looks: (readonly LookAgain[])[] = [];
  readonly superseded: RowKey[] = [];

  get transaction(): ApplyTransaction {
    const taken: Partial<ApplyTransaction> = {
      recordVersions: async (_, entries) => void this.versions.push(entries),
      putTombstones: async (_, __, entries) => void this.tombstones.push(entries),
      putLooks: async (looks) => void this.looks.push(looks),
      supersedeQuarantine: async (_, __, rows) => void this.superseded.push(...rows.map(({ key }) => key)),
    };
    return taken as ApplyTransaction;
  }
}

describe('the record of a giant transaction', () => {
  test('goes out piece by piece, and each holds what that piece wrote, removed and did not find', async () => {
    const sent = new Sent();
    const record = new BatchRecord(sent.transaction, 'eu', () => false);
    for (let piece = 0; piece < 3; piece += 1) {
      for (let row = 0; row < 10; row += 1) record.wrote(SHAPE, `${piece} ${row}`, link(10 * piece + row));
      record.buried(SHAPE, `removed ${piece}`, link(100 + piece));
      record.lookAgain(SHAPE, `removed ${piece}`, {}, SOURCE.hlc);
      await record.sendPiece(SOURCE, () => new Set([`${piece} 5`]), []);
    }
    await record.send(NONE, []);
    const keys = (lists: readonly (readonly { readonly key: RowKey }[])[]): RowKey[][] =>
      lists.map((list) => list.map(({ key }) => key));
    assert.deepEqual(
      keys(sent.versions),
      [0, 1, 2].map((piece) => Array.from({ length: 10 }, (_, row) => `${piece} ${row}`)),
    );
    assert.deepEqual(keys(sent.tombstones), [['removed 0'], ['removed 1'], ['removed 2']]);
    assert.deepEqual(keys(sent.looks), [['removed 0'], ['removed 1'], ['removed 2']]);
    assert.deepEqual(sent.superseded, ['0 5', '1 5', '2 5']);
    assert.equal(record.written, 33);
  });

  test('knows which of its events wrote a row, where rows may have to make room, also after its piece is gone', async () => {
    const record = new BatchRecord(new Sent().transaction, 'eu', () => false);
    for (const index of [3, 4]) for (const shape of [SHAPE, CLAIMING]) record.wrote(shape, `row ${index}`, link(index));
    await record.sendPiece(SOURCE, NONE, []);
    record.wrote(CLAIMING, 'row 4', link(9));
    await record.sendPiece(SOURCE, NONE, []);
    const { hlc, position } = SOURCE;
    const known = (index: number): Partial<VersionEntry> => ({ hlc, position, event_id: link(index).event.event_id });
    assert.deepEqual(record.version(CLAIMING, 'row 3'), { key: 'row 3', ...known(3) });
    assert.deepEqual(record.version(CLAIMING, 'row 4'), { key: 'row 4', ...known(9) });
    assert.equal(record.version(CLAIMING, 'row 5'), undefined);
    assert.equal(record.version(SHAPE, 'row 3'), undefined);
  });

  test('keeps intents to put a row back until its end, since a later piece may say what becomes of the row', async () => {
    const sent = new Sent();
    const record = new BatchRecord(sent.transaction, 'eu', () => false);
    for (const key of ['stays', 'goes', 'is written', 'is parked']) {
      const { event, source } = link(0);
      record.putBack(SHAPE, { key, pk: {}, version: { hlc: source.hlc, origin: 'eu' }, event });
    }
    await record.sendPiece(SOURCE, NONE, []);
    assert.equal(sent.looks.length, 0);
    record.buried(SHAPE, 'goes', link(1));
    record.wrote(SHAPE, 'is written', link(1));
    record.parked(SHAPE, 'is parked', link(1));
    await record.sendPiece(SOURCE, NONE, []);
    await record.send(NONE, []);
    assert.deepEqual(
      sent.looks.map((looks) => looks.map(({ key }) => key)),
      [['stays']],
    );
  });
});
