import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTableIncluded } from './table-filter.ts';

test('patterns match whole names, with * for any run of characters', () => {
  const cases: [string, string, string, boolean][] = [
    ['public.*', 'public', 'orders', true],
    ['public.*', 'public2', 'orders', false],
    ['public.orders', 'public', 'orders', true],
    ['public.orders', 'public', 'Orders', false],
    ['*.order*', 'sales', 'order_lines', true],
    ['*.*_log', 'sales', 'audit_log', true],
    ['*.*_log', 'sales', 'audit_log2', false],
    ['a.b*b', 'a', 'b', false],
    ['a.b*b', 'a', 'bb', true],
    ['*.a*b*c', 'x', 'a-b-b-c', true],
    ['*.a*b*c', 'x', 'a-c-b', false],
    ['pub.ic.*', 'publicx', 'y', false],
  ];
  for (const [pattern, schema, table, expected] of cases) {
    assert.equal(isTableIncluded({ include: [pattern], exclude: [] }, schema, table), expected, `${pattern} ${table}`);
  }
});

test('exclude wins over include, and an empty include takes nothing', () => {
  const filter = { include: ['public.*'], exclude: ['public.audit*'] };
  assert.equal(isTableIncluded(filter, 'public', 'orders'), true);
  assert.equal(isTableIncluded(filter, 'public', 'audit_log'), false);
  assert.equal(isTableIncluded({ include: [], exclude: [] }, 'public', 'orders'), false);
});
