import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../../change/hlc.ts';
import type { ApplyPort, ApplyTransaction, TableShape, Tuple } from '../apply-port.ts';
import type { RowOp, SourceTransaction, Step } from '../net-change.ts';
import { ForgottenTimes } from './forgotten-times.ts';

const HOUR = 3_600_000_000n;
const NOW = 100n * HOUR;
const SHAPE = { id: '"public"."t"', schema: 'public', table: 't' } as TableShape;
const KEY = '["1"]';

function tuple(changes: Partial<Tuple>): Tuple {
  return { xid: 7, stampMicros: null, writer: 'eu', local: true, foreign: false, own: false, image: {}, ...changes };
}

/** Checks one event of `us`, so old, on a row that stands so, in a database that has forgotten times up to then. */
async function check(options: {
  age: bigint;
  forgottenTo: bigint | null;
  row: Tuple;
  origin?: string;
  isExact?: boolean;
}): Promise<{ looks: number; code: string | null }> {
  let looks = 0;
  const port = { forgottenTo: async () => options.forgottenTo } as unknown as ApplyPort;
  const transaction = {
    inspect: async () => {
      looks += 1;
      return new Map([[KEY, options.row]]);
    },
    exactVersions: async () => new Map(options.isExact === true ? [[KEY, { hlc: 1n }]] : []),
  } as unknown as ApplyTransaction;
  const source = { hlc: hlcFromMicros(NOW - options.age) } as SourceTransaction;
  const step: Step = { kind: 'rows', tables: new Map([['t', { shape: SHAPE, ops: new Map([[KEY, {} as RowOp]]) }]]) };
  const { origin = 'us' } = options;
  try {
    const times = new ForgottenTimes(port, 'eu', () => NOW);
    await times.check(transaction, { origin, isEcho: origin === 'eu' }, [source], [step]);
    return { looks, code: null };
  } catch (error) {
    return { looks, code: error instanceof Error && 'code' in error ? String(error.code) : 'none' };
  }
}

const FORGOTTEN = tuple({ forgotten: true });

describe('rows of which the time is forgotten', () => {
  test('young events are not held up by a look, and old ones are only where times are forgotten', async () => {
    const forgottenTo = NOW - 10n * HOUR;
    assert.deepEqual(await check({ age: 1_000_000n, forgottenTo: NOW, row: FORGOTTEN }), { looks: 0, code: null });
    assert.deepEqual(await check({ age: 5n * HOUR, forgottenTo, row: FORGOTTEN }), { looks: 0, code: null });
    assert.deepEqual(await check({ age: 50n * HOUR, forgottenTo: null, row: FORGOTTEN }), { looks: 0, code: null });
    assert.deepEqual(await check({ age: 11n * HOUR, forgottenTo, row: FORGOTTEN }), { looks: 1, code: 'SYN-A011' });
    // A transaction that ran for long is younger than its id.
    assert.deepEqual(await check({ age: 10n * HOUR - 1n, forgottenTo, row: FORGOTTEN }), {
      looks: 1,
      code: 'SYN-A011',
    });
  });

  test('a row that has its time, an exact version, or the same stream holds up nothing', async () => {
    const old = { age: 20n * HOUR, forgottenTo: NOW - 10n * HOUR };
    const applied = tuple({ forgotten: true, local: false, writer: 'ap' });
    assert.equal((await check({ ...old, row: tuple({ stampMicros: 1n }) })).code, null);
    assert.equal((await check({ ...old, row: applied })).code, 'SYN-A011');
    assert.equal((await check({ ...old, row: applied, isExact: true })).code, null);
    assert.equal((await check({ ...old, row: { ...applied, writer: 'us' } })).code, null);
    // An echo never touches a local row.
    assert.equal((await check({ ...old, row: FORGOTTEN, origin: 'eu' })).code, null);
  });
});
