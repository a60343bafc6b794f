import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { change, make, REGION, send, sent } from '../../../test/support/made-publisher.ts';
import type { Image } from '../../change/change-event.ts';
import { parseChange } from '../../change/stream-record.ts';
import { ActiveMerges } from './active-merges.ts';
import type { RowChange } from './decoded-transaction.ts';

/** What an activation row becomes, as capture decodes it. */
function activation(more: Partial<Image> = {}): RowChange {
  const after: Image = {
    schema_name: 'public',
    table_name: 't',
    region: REGION,
    version_id: 'v1',
    base_version_id: null,
    mode: 'immediate',
    percent: '100',
    ...more,
  };
  const key = ['schema_name', 'table_name', 'region'];
  return { schema: 'syncline', table: 'merge_activation', operation: 'UPDATE', key, before: null, after };
}

const named = ({ merge, merge_shadow }: { merge?: string; merge_shadow?: string }): unknown => [
  merge ?? null,
  merge_shadow ?? null,
];

describe('the merge rule that a change goes by', () => {
  test('is the one of the last activation before it in the WAL, within a transaction too', async () => {
    const { publisher, records } = make();
    await send(publisher, sent(1, [change('1'), activation(), change('2'), change('3', { table: 'u' })]));
    await send(publisher, sent(2, [change('4')]));
    await send(publisher, sent(3, [activation({ version_id: 'v2' })]));
    await send(publisher, sent(4, [change('5'), activation({ version_id: null }), change('6')]));
    await publisher.durable();
    const events = records.map(({ value }) => parseChange(value)).filter(({ schema_name }) => schema_name === 'public');
    assert.deepEqual(
      events.map((event) => [event.row_pk.id, event.merge]),
      [
        ['1', undefined],
        ['2', 'v1'],
        ['3', undefined],
        ['4', 'v1'],
        ['5', 'v2'],
        ['6', undefined],
      ],
    );
    assert.ok(events.every((event) => !('merge_shadow' in event)));
  });

  test('is not that of another region, nor of a table of that name elsewhere', () => {
    const merges = new ActiveMerges(REGION);
    merges.next(activation({ region: 'us' }));
    merges.next({ ...activation(), schema: 'public' });
    assert.deepEqual(named(merges.next(change('1'))), [null, null]);
    merges.next(activation());
    assert.deepEqual(named(merges.next(change('1', { schema: 'other' }))), [null, null]);
    assert.deepEqual(named(merges.next(change('1'))), ['v1', null]);
  });

  test('ends with the row', () => {
    const merges = new ActiveMerges(REGION);
    const { after } = merges.next(activation());
    merges.next({ ...activation(), operation: 'DELETE', before: after, after: null });
    assert.deepEqual(named(merges.next(change('1'))), [null, null]);
  });

  test('stays the one before while another runs in its shadow', () => {
    const merges = new ActiveMerges(REGION);
    merges.next(activation({ mode: 'shadow', version_id: 'v2', base_version_id: 'v1' }));
    assert.deepEqual(named(merges.next(change('1'))), ['v1', 'v2']);
    merges.next(activation({ mode: 'shadow', version_id: 'v2' }));
    assert.deepEqual(named(merges.next(change('1'))), [null, 'v2']);
  });

  test('is by percentage that of the rows in the share, and the one before for the others', () => {
    const [eu, us] = [new ActiveMerges(REGION), new ActiveMerges('us')];
    const rollout = { mode: 'percent', percent: '30', version_id: 'v2', base_version_id: 'v1' };
    eu.next(activation(rollout));
    us.next(activation({ ...rollout, region: 'us' }));
    const names = Array.from({ length: 300 }, (_, id) => eu.next(change(String(id))).merge);
    assert.deepEqual(
      names,
      Array.from({ length: 300 }, (_, id) => us.next(change(String(id))).merge),
    );
    const taken = names.filter((name) => name === 'v2').length;
    assert.ok(taken > 60 && taken < 120, `${taken} of 300`);
    assert.equal(names.filter((name) => name === 'v1').length, 300 - taken);
    // The key after the change decides; a removal has only the one before, and a TRUNCATE none.
    const id = String(names.indexOf('v2'));
    const other = String(names.indexOf('v1'));
    const moved = change(id, { operation: 'UPDATE', before: { id: other, note: null } });
    const removed = change(id, { operation: 'DELETE', before: { id, note: null }, after: null });
    const emptied = change(id, { operation: 'TRUNCATE', after: null });
    assert.deepEqual(
      [moved, removed, emptied].map((each) => eu.next(each).merge),
      ['v2', 'v2', 'v1'],
    );
  });

  test('takes keys that are equal in the database for one row', () => {
    const merges = new ActiveMerges(REGION);
    merges.next(activation({ mode: 'percent', percent: '50', version_id: 'v2' }));
    const numeric = (id: string): RowChange => change(id, { looseKey: true, natures: ['numeric'] });
    fc.assert(
      fc.property(fc.nat(), (id) => {
        assert.equal(merges.next(numeric(`${id}.00`)).merge, merges.next(numeric(String(id))).merge);
      }),
    );
  });

  test('is none for what an operator decides about a parked row', () => {
    const merges = new ActiveMerges(REGION);
    merges.next(activation());
    assert.deepEqual(named(merges.next(change('1', { operator: true }))), [null, null]);
  });

  test('may be a newer one after a start, until an older activation goes by', async () => {
    const { publisher, records } = make({ merges: new ActiveMerges(REGION, [{ ...ROLLOUT, version_id: 'v2' }]) });
    await send(publisher, sent(1, [change('1'), activation(), change('2')]));
    await send(publisher, sent(2, [activation({ version_id: 'v2' }), change('3')]));
    await publisher.durable();
    const events = records.map(({ value }) => parseChange(value)).filter(({ schema_name }) => schema_name === 'public');
    assert.deepEqual(
      events.map(({ merge }) => merge),
      ['v2', 'v1', 'v2'],
    );
  });
});

const ROLLOUT = {
  schema_name: 'public',
  table_name: 't',
  base_version_id: null,
  mode: 'immediate',
  percent: 100,
} as const;
