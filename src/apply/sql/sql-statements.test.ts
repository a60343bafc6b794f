import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import type { KeyNature } from '../../change/key-nature.ts';
import { rivalsSql } from './sql-claims.ts';
import * as statements from './sql-statements.ts';
import type { SqlClaimPart, SqlColumn, SqlKeyColumn, SqlTableShape } from './sql-table-shape.ts';

const GOLDEN = new URL('./sql-statements.golden.sql', import.meta.url);

function column(name: string, type: string, more: Partial<SqlColumn> = {}): SqlColumn {
  return { name, type, unnests: true, isIdentityAlways: false, ...more };
}

function key(name: string, nature: KeyNature = 'text', equals = 'operator(pg_catalog.=)'): SqlKeyColumn {
  return { name, nature, equals };
}

function part(expression: string, conflicts: string, more: Partial<SqlClaimPart> = {}): SqlClaimPart {
  return { expression, conflicts, collation: null, isScalar: true, ...more };
}

function shapeOf(
  table: string,
  columns: readonly SqlColumn[],
  keyColumns: readonly SqlKeyColumn[],
  more: Partial<SqlTableShape> = {},
): SqlTableShape {
  return {
    id: `"public"."${table}"`,
    schema: 'public',
    table,
    key: keyColumns.map(({ name }) => name),
    columns: columns.map(({ name }) => name),
    keyNeedsDatabase: keyColumns.some(({ nature }) => nature !== 'text'),
    hasClaims: false,
    claims: [],
    generatedColumns: [],
    oid: '1',
    keyIndex: '2',
    isPartitioned: false,
    columnOf: new Map(columns.map((each) => [each.name, each])),
    keyColumns,
    generated: new Set(),
    definition: '',
    ...more,
  };
}

const SHAPES: readonly SqlTableShape[] = [
  shapeOf(
    'accounts',
    [column('aid', 'integer'), column('abalance', 'integer'), column('filler', 'bpchar')],
    [key('aid')],
  ),
  shapeOf(
    'Order "lines"',
    [
      column('no', 'numeric'),
      column('code', 'ext.citext'),
      column('tags', 'text[]', { unnests: false }),
      column('price', 'public.euros', { unnests: false }),
    ],
    [key('code', 'citext', 'operator(ext.=)'), key('no', 'numeric')],
    { id: `"public"."Order ""lines""'s"` },
  ),
  shapeOf('events', [column('id', 'bigint'), column('at', 'date'), column('note', 'text')], [key('id'), key('at')], {
    isPartitioned: true,
  }),
  shapeOf('pairs', [column('a', 'integer'), column('b', 'integer')], [key('a'), key('b')]),
  shapeOf(
    'counted',
    [column('id', 'uuid'), column('n', 'bigint', { isIdentityAlways: true }), column('v', 'text')],
    [key('id')],
  ),
  shapeOf(
    'members',
    [column('id', 'bigint'), column('email', 'text'), column('room', 'integer'), column('during', 'tstzrange')],
    [key('id')],
    {
      hasClaims: true,
      generatedColumns: [{ name: 'handle', type: 'text', expression: 'lower(email)' }],
      claims: [
        {
          parts: [
            part('handle', 'operator(pg_catalog.=)', { collation: 'pg_catalog."C"' }),
            part('room', 'operator(pg_catalog.=)'),
          ],
          predicate: 'room > 0',
          nullsNotDistinct: true,
          excludes: false,
        },
        {
          parts: [part('room', 'operator(pg_catalog.=)'), part('during', 'operator(pg_catalog.&&)')],
          predicate: null,
          nullsNotDistinct: false,
          excludes: true,
        },
      ],
    },
  ),
  shapeOf('numbers', [column('id', 'bigint', { isIdentityAlways: true })], [key('id')]),
];

function statementsOf(shape: SqlTableShape): string {
  const some = shape.columns.filter((name, place) => shape.key.includes(name) || place % 2 === 0);
  const texts = {
    'upsert of all columns': statements.upsertSql(shape, shape.columns, 'update'),
    'upsert of some columns': statements.upsertSql(shape, some, 'update'),
    'upsert of rows that are likely to be new': statements.upsertSql(shape, shape.columns, 'insert'),
    remove: statements.removeSql(shape),
    'remove all': statements.removeAllSql(shape),
    remaining: statements.remainingSql(shape),
    'has forgotten': statements.hasForgottenSql(shape),
    inspect: statements.inspectSql(shape),
    overwrite: statements.overwriteSql(shape, shape.columns),
    'overwrite several': statements.overwriteAllSql(shape, shape.columns) ?? '-- one by one',
    insert: statements.insertSql(shape, shape.columns),
    erase: statements.eraseSql(shape),
    'canonical keys': statements.canonicalKeysSql(shape),
    ...(shape.hasClaims ? { rivals: rivalsSql(shape, some) } : {}),
  };
  return Object.entries(texts)
    .map(([name, sql]) => `-- ${shape.id}: ${name}\n${sql};\n`)
    .join('\n');
}

describe('statements on user tables', () => {
  // After a change on purpose: SYNCLINE_GOLDEN=write node --test src/apply/sql/sql-statements.test.ts
  test('are as the golden file has them, for every kind of table', async () => {
    const texts = SHAPES.map(statementsOf).join('\n');
    if (process.env.SYNCLINE_GOLDEN === 'write') await writeFile(GOLDEN, texts);
    assert.equal(texts, await readFile(GOLDEN, 'utf8'));
  });

  test('overwriting needs only what is set: of the key, what can differ between equal keys', () => {
    const columns = SHAPES.map((shape) => statements.overwrittenColumns(shape, shape.columns));
    assert.deepEqual(columns, [
      ['abalance', 'filler'],
      ['no', 'code', 'tags', 'price'],
      ['note'],
      [],
      ['id', 'n', 'v'],
      ['email', 'room', 'during'],
      ['id'],
    ]);
  });

  test('a column that the table lacks is a programming error here', () => {
    const [shape] = SHAPES;
    assert.ok(shape !== undefined);
    assert.throws(() => statements.insertSql(shape, ['nothing']), { name: 'InvariantViolation' });
  });
});
