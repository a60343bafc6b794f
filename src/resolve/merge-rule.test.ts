import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SynclineError } from '../platform/errors.ts';
import { COLUMN_STRATEGIES, type ColumnType, LAST_WRITER_WINS, validateRule, validateStrategy } from './merge-rule.ts';

const type = (name: string, category = 'U', schema = 'pg_catalog'): ColumnType => ({ schema, name, category });

/** What each type can hold, besides `lww` and `lww-columns`. */
const CAN: readonly (readonly [ColumnType, readonly string[]])[] = [
  [type('int2'), ['counter', 'max', 'min']],
  [type('int8'), ['counter', 'max', 'min']],
  [type('numeric'), ['counter', 'max', 'min']],
  [type('float8'), ['max', 'min']],
  [type('money'), []],
  [type('text'), ['max', 'min', 'text']],
  [type('varchar'), ['max', 'min', 'text']],
  [type('bpchar'), []],
  [type('timestamptz'), ['max', 'min']],
  [type('interval'), []],
  [type('uuid'), ['max', 'min']],
  [type('bool'), ['max', 'min']],
  [type('jsonb'), ['set', 'json']],
  [type('json'), []],
  [type('bytea'), ['yjs']],
  [type('_text', 'A'), ['set']],
  [type('_mood', 'A', 'public'), ['set']],
  [type('_box', 'A'), []],
  [type('mood', 'E', 'public'), []],
  [type('text', 'S', 'public'), []],
];

describe('a strategy', () => {
  test('is taken by the types that can hold it and refused with a reason by all others', () => {
    for (const [of, can] of CAN) {
      for (const strategy of COLUMN_STRATEGIES) {
        const choose = (): void => validateStrategy('c', of, strategy);
        const isFree = strategy === 'lww' || strategy === 'lww-columns';
        if (isFree || can.includes(strategy)) choose();
        else assert.throws(choose, { code: 'SYN-A080' }, `${of.name} ${strategy}`);
      }
    }
  });

  test('cannot be given to the key, to what is not there, or for another type', () => {
    const types = new Map([
      ['id', type('int8')],
      ['n', type('int4')],
    ]);
    const check = (column: string, typeName: string): void =>
      validateRule(
        { ...LAST_WRITER_WINS, key: ['id'], columns: { [column]: { strategy: 'counter', typeName } } },
        types,
      );
    check('n', 'int4');
    for (const [column, name] of [
      ['id', 'int8'],
      ['m', 'int4'],
      ['n', 'int8'],
    ] as const) {
      assert.throws(
        () => check(column, name),
        (error) => error instanceof SynclineError && error.code === 'SYN-A081',
      );
    }
  });
});
