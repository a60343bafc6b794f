import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Image } from '../../change/change-event.ts';
import { makePosition, type Position, type Seen } from '../../change/position.ts';
import { foldNow, neverAsked } from '../../resolve/fold-drivers.ts';
import { settledRow } from '../../resolve/fold-state.ts';
import type { MergeRule } from '../../resolve/merge-rule.ts';
import { type HistoryEvent, MergedRow } from './merged-row.ts';

const EPOCH = '0000000000000000001';
const RULE: MergeRule = {
  table: 'public.t',
  key: ['id'],
  rows: 'lww',
  columns: { n: { strategy: 'counter', typeName: 'int4' } },
  deletes: 'latest',
  needsValidation: false,
};

const counted = (n: number): Image => ({ id: '1', n: String(n) });
const at = (lsn: number): Position => makePosition(EPOCH, BigInt(lsn));

function event(
  origin: string,
  lsn: number,
  hlc: number,
  from: number,
  to: number | null,
  seen: Seen = {},
): HistoryEvent {
  return {
    version: { hlc: BigInt(hlc), origin },
    position: at(lsn),
    index: 0,
    event_id: `${origin}${lsn}`,
    seen,
    before: counted(from),
    after: to === null ? null : counted(to),
    merge: 'v1',
    rule: RULE,
  };
}

/** A region, `eu`, with a row that begins with 10. */
class Region {
  row = new MergedRow(settledRow(counted(10)));
  tuple: Image | null = counted(10);
  isLocal = false;
  lsn = 0n;
  echoedLsn = 0n;

  /** A user's commit. */
  writes(image: Image | null): number {
    this.lsn += 1n;
    this.tuple = image;
    this.isLocal = true;
    return Number(this.lsn);
  }

  applies(made: HistoryEvent): Image | null {
    this.row.fold.add(made);
    return this.looks(made.before);
  }

  echoes(made: HistoryEvent): Image | null {
    this.row.fold.add(made);
    this.echoedLsn = BigInt(`0x${made.position.slice(20)}`);
    this.row.captured(this.echoedLsn, made.after, made.seen);
    return this.looks(null);
  }

  looks(before: Image | null): Image | null {
    this.lsn += 1n;
    // As a restart leaves it.
    const kept = MergedRow.fromText(this.row.toText());
    for (const each of this.row.fold.events) kept.fold.add(each);
    this.row = kept;
    const found = { image: this.tuple, isLocal: this.isLocal, isEmptied: false, lsn: this.lsn };
    const place = { region: 'eu', epoch: EPOCH, rule: RULE, echoedLsn: this.echoedLsn };
    const { image, keep } = foldNow(this.row.settle(found, before, {}, place), neverAsked);
    keep();
    if (image !== this.tuple) this.isLocal = false;
    this.tuple = image;
    return image;
  }
}

describe('the row of a table that merges', () => {
  test('keeps local writes that are not captured, also once the lane has written over them', () => {
    const eu = new Region();
    const ours = eu.writes(counted(11));
    assert.deepEqual(eu.applies(event('us', 1, 2, 10, 20)), counted(21));
    assert.deepEqual(eu.applies(event('ap', 1, 3, 10, 110)), counted(121));
    const also = eu.writes(counted(122));
    assert.deepEqual(eu.applies(event('us', 2, 4, 20, 30)), counted(132));
    assert.deepEqual(eu.echoes(event('eu', ours, 5, 10, 11)), counted(132));
    assert.deepEqual(eu.echoes(event('eu', also, 6, 121, 122, { us: at(1), ap: at(1) })), counted(132));
    assert.equal(eu.row.visitAt, null);
  });

  test('does not lose the second of two local writes to the echo of the first', () => {
    const eu = new Region();
    const first = eu.writes(counted(11));
    const second = eu.writes(counted(13));
    assert.deepEqual(eu.applies(event('us', 1, 9, 10, 110)), counted(113));
    assert.deepEqual(eu.echoes(event('eu', first, 2, 10, 11)), counted(113));
    assert.deepEqual(eu.echoes(event('eu', second, 3, 11, 13)), counted(113));
  });

  test('takes out what was no local write, once the own stream has passed the place of the look', () => {
    const eu = new Region();
    // Nothing is known of the row, and what the event found is not what stands here: a third region's write is not here yet.
    eu.row = new MergedRow();
    eu.isLocal = true;
    assert.deepEqual(eu.applies(event('us', 1, 2, 15, 16)), counted(11));
    const { visitAt } = eu.row;
    assert.ok(visitAt !== null);
    eu.echoedLsn = visitAt;
    assert.deepEqual(eu.looks(null), counted(16));
  });

  test('comes and goes with inserts and removals that are not captured', () => {
    const eu = new Region();
    const gone = eu.writes(null);
    assert.equal(eu.applies(event('us', 1, 2, 10, 20)), null);
    const removal = event('eu', gone, 3, 10, null);
    assert.equal(eu.echoes(removal), null);
    assert.deepEqual(eu.applies(event('ap', 1, 4, 10, 12)), counted(12), 'the later write stands');
  });

  test('that is absent at the look may be an insert that is not visible yet', () => {
    const eu = new Region();
    eu.row = new MergedRow();
    const inserted = eu.writes(counted(1));
    eu.tuple = null;
    const { before: _, ...rest } = event('us', 1, 9, 1, null, { eu: at(inserted) });
    assert.equal(eu.applies({ ...rest, before: counted(1) }), null);
    // It is visible now, and its echo comes.
    eu.tuple = counted(1);
    eu.isLocal = true;
    assert.equal(eu.echoes({ ...event('eu', inserted, 2, 0, 1), before: null }), null);
  });
});
