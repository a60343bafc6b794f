import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Conflict } from './agent-client.ts';
import { pickConflicts, tellConflict } from './conflict-story.ts';

const conflict = (table: string, lost: Conflict['image_a'], won: Conflict['image_b']): Conflict => ({
  conflict_id: table,
  table_name: table,
  row_pk: { sku: 'SKU-0001' },
  resolution_strategy: 'lww',
  loser_region: 'eu-west',
  winner_region: 'us-east',
  image_a: lost,
  image_b: won,
});

describe('a conflict as a story', () => {
  test('tells who wrote what, in the columns that differ', () => {
    const [lost, won] = [
      { sku: 'SKU-0001', price: '12.50', stock: null, updated_at: '1' },
      { sku: 'SKU-0001', price: '13.10', stock: '7', updated_at: '2' },
    ];
    assert.deepEqual(tellConflict(conflict('products', lost, won)), [
      "products, sku 'SKU-0001'",
      "  eu-west wrote price = '12.50', stock = NULL",
      "  us-east wrote price = '13.10', stock = '7', later, and won",
    ]);
    assert.deepEqual(tellConflict(conflict('carts', { quantity: '2' }, null)), [
      "carts, sku 'SKU-0001'",
      "  eu-west wrote quantity = '2'",
      '  us-east deleted the row, later, and won',
    ]);
  });

  test('those of different tables are picked first, and none that shows nothing', () => {
    const one = { a: '1', updated_at: 'x' };
    const same = { a: '1', updated_at: 'y' };
    const other = { a: '2', updated_at: 'y' };
    const list = [
      conflict('carts', one, other),
      conflict('carts', one, null),
      conflict('carts', null, null),
      conflict('products', one, same),
      conflict('products', one, other),
    ];
    assert.deepEqual(
      pickConflicts(list, 3).map(({ table_name }) => table_name),
      ['carts', 'products', 'carts'],
    );
    assert.equal(pickConflicts(list, 9).length, 3);
    assert.deepEqual(pickConflicts([], 3), []);
  });
});
