import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { REGISTRY_TABLES } from '../../change/merge-registry.ts';
import {
  isExcluded,
  type PublicationSpec,
  type PublicationState,
  planPublication,
  problemOf,
} from './publication-plan.ts';
import type { CatalogTable, Leaf } from './table-catalog.ts';

const SPEC: PublicationSpec = {
  name: 'syncline_eu',
  include: ['public.*'],
  exclude: ['public.no_*'],
  identity: 'full',
};

const leaf = (table: string, more: Partial<Leaf> = {}): Leaf => {
  return { schema: 'public', table, kind: 'r', persistence: 'p', identity: 'f', ...more };
};

function table(oid: number, name: string, more: Partial<CatalogTable> = {}): CatalogTable {
  const own = leaf(name, more.identity === undefined ? {} : { identity: more.identity });
  return {
    ...own,
    oid,
    ancestors: [],
    key: [{ name: 'id', type: 'pg_catalog.int4', nature: 'text', isGenerated: false }],
    hasPrimaryKey: true,
    deferrable: null,
    ofPartition: null,
    virtual: null,
    leaves: [own],
    ...more,
  };
}

const state = (...members: number[]): PublicationState => ({ deviations: [], members });
const names = (tables: readonly { table: string }[]): string[] => tables.map((each) => each.table);

describe('a plan', () => {
  test('adds what the filter names and is not published yet', () => {
    const tables = [table(1, 'a'), table(2, 'b'), table(3, 'no_c'), table(4, 'd', { schema: 'other' })];
    const plan = planPublication(SPEC, tables, state(1), new Set([1]));
    assert.deepEqual([names(plan.add), names(plan.drop), plan.fault], [['b'], [], null]);
  });

  test('takes out at the start what the filter no longer names', () => {
    const tables = [table(1, 'a'), table(3, 'no_c')];
    assert.deepEqual(names(planPublication(SPEC, tables, state(1, 3), null).drop), ['no_c']);
    assert.deepEqual(names(planPublication(SPEC, tables, state(1, 3), new Set([1, 3])).drop), []);
  });

  test('takes in the registry whatever the filter says, also into a publication that is there already', () => {
    const own = (oid: number, name: string): CatalogTable => table(oid, name, { schema: 'syncline' });
    const tables = [table(1, 'a'), own(2, 'merge_ack'), own(3, 'quarantine')];
    const spec = { ...SPEC, include: ['*'], exclude: ['syncline.*'], always: REGISTRY_TABLES };
    assert.deepEqual(names(planPublication(spec, tables, state(1), null).add), ['merge_ack']);
    assert.deepEqual(names(planPublication(spec, tables, state(1, 2), null).drop), []);
    assert.deepEqual(names(planPublication({ ...SPEC, include: ['*'] }, tables, state(1, 3), null).drop), [
      'quarantine',
    ]);
  });

  test('takes the topmost table that is named, and partitions with it', () => {
    const root = { schema: 'public', table: 'root' };
    const outer = { schema: 'other', table: 'outer' };
    const tables = [
      table(1, 'root', { kind: 'p', ancestors: [outer] }),
      table(2, 'part', { ancestors: [root, outer] }),
      table(3, 'lone', { ancestors: [outer] }),
    ];
    assert.deepEqual(names(planPublication(SPEC, tables, state(), null).add), ['root', 'lone']);
  });

  test('sets the identity of members that lack it, partitions and their root included', () => {
    const parts = [leaf('p', { kind: 'p', identity: 'd' }), leaf('p1', { identity: 'd' }), leaf('p2')];
    const tables = [
      table(1, 'a', { identity: 'd' }),
      table(2, 'p', { kind: 'p', identity: 'd', leaves: parts }),
      table(3, 'b', { identity: 'd' }),
    ];
    const plan = planPublication(SPEC, tables, state(1, 2), null);
    assert.deepEqual(names(plan.identify), ['a', 'p', 'p1']);
    assert.deepEqual(names(plan.add), ['b']);
    assert.deepEqual(planPublication({ ...SPEC, identity: 'key' }, tables, state(1, 2), null).identify, []);
  });

  test('stops where someone changed the publication', () => {
    const tables = [table(1, 'a'), table(2, 'b')];
    const faultOf = (found: PublicationState, known: Set<number> | null): string | undefined =>
      planPublication(SPEC, tables, found, known).fault?.message;
    assert.match(faultOf({ deviations: ['x'], members: [1, 2] }, null) ?? '', /^SYN-K002 .*: x$/);
    assert.match(faultOf(state(1), new Set([1, 2])) ?? '', /^SYN-K002 .*public\.b was taken out/);
    assert.match(faultOf(state(1, 2), new Set([1])) ?? '', /^SYN-K002 .*public\.b was added/);
    assert.equal(faultOf(state(1), null), undefined);
    assert.equal(faultOf(state(1, 2), new Set([1, 2, 99])), undefined, 'a table that is gone has left by itself');
  });

  test('stops where a published table lost its key', () => {
    const tables = [table(1, 'a', { key: null, hasPrimaryKey: false })];
    for (const known of [null, new Set([1])]) {
      assert.equal(planPublication(SPEC, tables, state(1), known).fault?.code, 'SYN-K008');
    }
    const unpublished = planPublication(SPEC, tables, state(), null);
    assert.deepEqual([unpublished.fault, unpublished.problems[0]?.code], [null, 'SYN-P012']);
  });
});

test('each reason why a table cannot be replicated has its code', () => {
  const key = { name: 'id', type: 'pg_catalog.jsonb', nature: null, isGenerated: false };
  const cases = [
    [{}, undefined],
    [{ key: null, hasPrimaryKey: false }, 'SYN-P012'],
    [{ deferrable: 't_pkey' }, 'SYN-P013'],
    [{ ofPartition: { partition: 't_1', name: 't_1_u_key' } }, 'SYN-P058'],
    [{ key: [key] }, 'SYN-P017'],
    [{ key: [{ ...key, nature: 'text' as const, isGenerated: true }] }, 'SYN-P012'],
    [{ virtual: 'v' }, 'SYN-P031'],
    [{ identity: 'i', hasPrimaryKey: false }, 'SYN-P012'],
    [{ leaves: [leaf('t', { persistence: 'u' })] }, 'SYN-P021'],
    [{ leaves: [leaf('t', { kind: 'p', persistence: 'u' }), leaf('t1')] }, undefined],
    [{ leaves: [leaf('t', { kind: 'p' }), leaf('t1', { persistence: 'u' })] }, 'SYN-P021'],
    [{ leaves: [leaf('t', { kind: 'f' })] }, 'SYN-P024'],
    [{ kind: 'p', leaves: [leaf('t', { kind: 'p' }), leaf('t1', { kind: 'f' })] }, 'SYN-P024'],
  ] as const;
  for (const [more, code] of cases)
    assert.equal(problemOf(table(1, 't', more), 'full')?.code, code, JSON.stringify(more));
  for (const more of [{ virtual: 'v' }, { hasPrimaryKey: false }])
    assert.equal(problemOf(table(1, 't', more), 'key'), null);
});

test('rows are of an excluded table where the filter names none of what it was or is', () => {
  const named = { schema: 'public', table: 'a' };
  const other = { schema: 'public', table: 'no_a' };
  assert.equal(isExcluded(SPEC, named, null), false);
  assert.equal(isExcluded(SPEC, other, null), true);
  assert.equal(isExcluded(SPEC, other, table(1, 'no_a')), true);
  assert.equal(isExcluded(SPEC, named, table(1, 'no_a')), false, 'renamed since then');
  assert.equal(isExcluded(SPEC, other, table(1, 'a')), false, 'renamed since then');
  assert.equal(isExcluded(SPEC, other, table(1, 'no_a', { ancestors: [named] })), false, 'its root is named');
  assert.equal(isExcluded(SPEC, other, table(1, 'no_a', { leaves: [leaf('a')] })), false, 'a partition is named');
  assert.equal(isExcluded(SPEC, { schema: 'syncline', table: 'merge_ack' }, null), false);
});
