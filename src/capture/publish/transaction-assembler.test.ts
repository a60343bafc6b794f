import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SynclineError } from '../../platform/errors.ts';
import { AppliedWork } from '../stream/applied-work.ts';
import {
  type PgoutputMessage,
  type RelationMessage,
  type ReplicaIdentity,
  type TupleColumn,
  UNCHANGED_TOAST,
} from '../stream/pgoutput-messages.ts';
import type { CatalogTable } from '../tables/table-catalog.ts';
import type { TransactionSink } from './decoded-transaction.ts';
import { OPERATOR_PREFIX } from './operator-message.ts';
import { type AssemblerOptions, HEARTBEAT_PREFIX, TransactionAssembler } from './transaction-assembler.ts';

const COLUMNS = ['id', 'name', 'big'];

function relation(oid: number, identity: ReplicaIdentity, columns: readonly string[] = COLUMNS): RelationMessage {
  const described = columns.map((name) => {
    return { name, typeOid: 25, typeModifier: -1, key: identity === 'f' || name === 'id' };
  });
  return { kind: 'relation', oid, schema: 'public', table: `t${oid}`, replicaIdentity: identity, columns: described };
}

const table = (
  key: readonly string[] | null,
  more: Partial<CatalogTable> = {},
): Pick<CatalogTable, 'key' | 'kind' | 'ancestors'> => ({
  kind: 'r',
  ancestors: [],
  key: key?.map((name) => ({ name, type: 'pg_catalog.int4', nature: 'text', isGenerated: false })) ?? null,
  ...more,
});

const begin = (lsn: bigint): PgoutputMessage => ({ kind: 'begin', finalLsn: lsn, commitTimeMicros: 5n, xid: 7 });
const commit = (lsn: bigint): PgoutputMessage => {
  return { kind: 'commit', flags: 0, commitLsn: lsn, endLsn: lsn + 10n, commitTimeMicros: 5n };
};
const insert = (to: RelationMessage, tuple: readonly TupleColumn[]): PgoutputMessage => {
  return { kind: 'insert', relationOid: to.oid, relation: to, new: tuple };
};
const update = (
  to: RelationMessage,
  tuple: readonly TupleColumn[],
  old: { key?: readonly TupleColumn[]; old?: readonly TupleColumn[] } = {},
): PgoutputMessage => {
  return { kind: 'update', relationOid: to.oid, relation: to, key: old.key, old: old.old, new: tuple };
};
const message = (content: string, prefix = HEARTBEAT_PREFIX, transactional = true): PgoutputMessage => {
  return { kind: 'message', transactional, lsn: 1n, prefix, content: Buffer.from(content) };
};

async function assemble(
  messages: readonly PgoutputMessage[],
  lookUp: AssemblerOptions['lookUp'] = async () => table(['id']),
): Promise<unknown[]> {
  const calls: unknown[] = [];
  const sink: TransactionSink = {
    begin: async ({ lsn, xid, commitMicros }) => void calls.push(['begin', lsn, xid, commitMicros]),
    foreignOrigin: () => void calls.push('foreign'),
    change: (change) => void calls.push(change),
    heartbeat: ({ members }) => void calls.push(['heartbeat', ...members]),
    commit: async (endLsn) => void calls.push(['commit', endLsn]),
  };
  const assembler = new TransactionAssembler({
    sink,
    applied: new AppliedWork('syncline_5_', 'secret'),
    decisionSecret: 'secret',
    lookUp,
  });
  for (const each of messages) await assembler.accept(each);
  return calls;
}

const within = (...messages: readonly PgoutputMessage[]): PgoutputMessage[] => [begin(100n), ...messages, commit(100n)];

/** The changes of one transaction. */
async function changes(messages: readonly PgoutputMessage[], lookUp?: AssemblerOptions['lookUp']): Promise<unknown[]> {
  const calls = await assemble(within(...messages), lookUp);
  assert.deepEqual(
    [calls[0], calls.at(-1)],
    [
      ['begin', 100n, 7, 5n],
      ['commit', 110n],
    ],
  );
  return calls.slice(1, -1);
}

describe('rows', () => {
  const full = relation(1, 'f');
  const byKey = relation(2, 'd');
  const change = { schema: 'public', table: 't1', key: ['id'] };

  test('with full identity have whole images, and unchanged TOAST is filled in', async () => {
    const toasted = update(full, ['1', null, UNCHANGED_TOAST], { old: ['1', 'a', 'BIG'] });
    const removed: PgoutputMessage = {
      kind: 'delete',
      relationOid: 1,
      relation: full,
      key: undefined,
      old: ['1', null, 'BIG'],
    };
    assert.deepEqual(await changes([full, insert(full, ['1', 'a', '']), toasted, removed]), [
      { ...change, operation: 'INSERT', before: null, after: { id: '1', name: 'a', big: '' } },
      {
        ...change,
        operation: 'UPDATE',
        before: { id: '1', name: 'a', big: 'BIG' },
        after: { id: '1', name: null, big: 'BIG' },
      },
      { ...change, operation: 'DELETE', before: { id: '1', name: null, big: 'BIG' }, after: null },
    ]);
  });

  test('with key identity leave out what was not sent', async () => {
    const moved = update(byKey, ['2', 'a', UNCHANGED_TOAST], { key: ['1', null, null] });
    const removed: PgoutputMessage = {
      kind: 'delete',
      relationOid: 2,
      relation: byKey,
      key: ['2', null, null],
      old: undefined,
    };
    const found = await changes([byKey, update(byKey, ['1', 'a', UNCHANGED_TOAST]), moved, removed]);
    assert.deepEqual(found, [
      { ...change, table: 't2', operation: 'UPDATE', before: null, after: { id: '1', name: 'a' } },
      { ...change, table: 't2', operation: 'UPDATE', before: { id: '1' }, after: { id: '2', name: 'a' } },
      { ...change, table: 't2', operation: 'DELETE', before: { id: '2' }, after: null },
    ]);
  });

  test('of a partition with less identity than its root do not pass for whole ones', async () => {
    const root = async () => table(['id'], { kind: 'p' });
    const moved = update(full, ['2', 'a', UNCHANGED_TOAST], { old: ['1', null, null] });
    const whole = update(full, ['2', 'a', UNCHANGED_TOAST], { old: ['1', null, 'BIG'] });
    assert.deepEqual(await changes([full, moved, whole], root), [
      { ...change, operation: 'UPDATE', before: { id: '1' }, after: { id: '2', name: 'a' } },
      {
        ...change,
        operation: 'UPDATE',
        before: { id: '1', name: null, big: 'BIG' },
        after: { id: '2', name: 'a', big: 'BIG' },
      },
    ]);
    const [odd] = (await changes([full, moved])) as { after: unknown }[];
    assert.deepEqual(odd?.after, { id: '2', name: 'a' }, 'a NULL never stands for a value that was not sent');
  });

  test('of another index than the key are told by no change that needs the key', async () => {
    const byOther = {
      ...relation(2, 'i'),
      columns: relation(2, 'i').columns.map((c) => ({ ...c, key: c.name === 'name' })),
    };
    const told = await changes([byOther, insert(byOther, ['1', 'a', 'b'])]);
    assert.equal(told.length, 1);
    for (const old of [{}, { key: [null, 'a', null] }]) {
      const found = changes([byOther, update(byOther, ['1', 'b', 'b'], old)]);
      await assert.rejects(found, { code: 'SYN-K008', message: /identity of public\.t2 lacks columns of the key/ });
    }
    const gone = await changes(
      [byOther, update(byOther, ['1', 'b', 'b'], { key: [null, 'a', null] })],
      async () => null,
    );
    assert.equal(gone.length, 1);
  });

  test('of a partition by another index are told by no change that may be of it', async () => {
    const byOther = {
      ...relation(2, 'i'),
      columns: relation(2, 'i').columns.map((c) => ({ ...c, key: c.name === 'name' })),
    };
    const lookUp: AssemblerOptions['lookUp'] = async ({ oid }) =>
      oid === 1 ? table(['id'], { kind: 'p' }) : table(['id'], { ancestors: [{ schema: 'public', table: 't1' }] });
    const plain = update(full, ['2', 'a', 'b']);
    const whole = update(full, ['2', 'a', 'b'], { old: ['1', 'a', 'b'] });
    const ofIt: PgoutputMessage = {
      kind: 'delete',
      relationOid: 1,
      relation: full,
      key: undefined,
      old: [null, 'a', null],
    };
    assert.equal((await changes([full, plain, byOther, whole], lookUp)).length, 2);
    for (const change of [plain, ofIt]) {
      const found = changes([full, insert(full, ['1', 'a', 'b']), byOther, change], lookUp);
      await assert.rejects(found, { code: 'SYN-K008', message: /identity of public\.t2 lacks columns of the key/ });
    }
    await assert.rejects(changes([full, ofIt], lookUp), { code: 'SYN-K008', message: /a partition of public\.t1/ });
    const mended = [full, byOther, { ...byOther, replicaIdentity: 'f' as const }, plain];
    assert.equal((await changes(mended, lookUp)).length, 1);
    const gone: AssemblerOptions['lookUp'] = async ({ oid }) => (oid === 1 ? table(['id'], { kind: 'p' }) : null);
    await assert.rejects(changes([full, byOther, plain], gone), { code: 'SYN-K008' });
    assert.equal((await changes([byOther, insert(byOther, ['1', 'a', 'b']), full, plain], gone)).length, 2);
    const ofAnother: AssemblerOptions['lookUp'] = async ({ oid }) => table(['id'], { kind: oid === 1 ? 'p' : 'r' });
    assert.equal((await changes([full, byOther, plain], ofAnother)).length, 1);
  });

  test('a column may have any name', async () => {
    const odd = relation(3, 'f', ['id', '__proto__', 'constructor']);
    const [found] = (await changes([odd, insert(odd, ['1', 'x', 'y'])])) as { after: object }[];
    assert.equal(JSON.stringify(found?.after), '{"id":"1","__proto__":"x","constructor":"y"}');
  });

  test('TRUNCATE of several tables is one change for each', async () => {
    const truncate: PgoutputMessage = {
      kind: 'truncate',
      relationOids: [1, 2],
      relations: [full, byKey],
      cascade: true,
      restartIdentity: false,
    };
    assert.deepEqual(await changes([full, byKey, truncate]), [
      { ...change, operation: 'TRUNCATE', before: null, after: null },
      { ...change, table: 't2', operation: 'TRUNCATE', before: null, after: null },
    ]);
  });
});

describe('the key', () => {
  const full = relation(1, 'f');

  test('is asked for once per description of the table', async () => {
    let asked = 0;
    const lookUp: AssemblerOptions['lookUp'] = async ({ oid }) => {
      assert.equal(oid, 1);
      asked += 1;
      return table(asked === 1 ? ['id'] : ['name', 'id']);
    };
    const again = relation(1, 'f');
    const row = ['1', 'a', 'b'];
    const found = await changes([full, insert(full, row), insert(full, row), again, insert(again, row)], lookUp);
    assert.equal(asked, 2);
    assert.deepEqual(
      found.map((each) => (each as { key: unknown }).key),
      [['id'], ['id'], ['name', 'id']],
    );
  });

  test('whose text does not tell rows apart is loose', async () => {
    const lookUp: AssemblerOptions['lookUp'] = async () => ({
      kind: 'r',
      key: [{ name: 'id', type: 'pg_catalog.numeric', nature: 'numeric', isGenerated: false }],
      ancestors: [],
    });
    const [found] = await changes([full, insert(full, ['1', 'a', 'b'])], lookUp);
    assert.equal((found as { looseKey?: true }).looseKey, true);
  });

  test('of a table that is gone, or has other columns now, is what the row says', async () => {
    for (const now of [null, table(['renamed'])]) {
      const [found] = await changes([full, insert(full, ['1', 'a', 'b'])], async () => now);
      assert.deepEqual((found as { key: unknown }).key, COLUMNS);
      const byKey = relation(2, 'd');
      const [exact] = await changes([byKey, insert(byKey, ['1', 'a', 'b'])], async () => now);
      assert.deepEqual((exact as { key: unknown }).key, ['id']);
    }
  });

  test('that a table has lost stops it before the transaction ends', async () => {
    const found = changes([full, insert(full, ['1', 'a', 'b'])], async () => table(null));
    await assert.rejects(found, (error) => error instanceof SynclineError && error.code === 'SYN-K008');
  });
});

test('what the configuration no longer names is left out, also where it has lost its key', async () => {
  const [kept, excluded] = [relation(1, 'f'), relation(2, 'f')];
  const lookUp: AssemblerOptions['lookUp'] = async ({ oid }) => (oid === 2 ? 'excluded' : table(['id']));
  const truncate: PgoutputMessage = {
    kind: 'truncate',
    relationOids: [2, 1],
    relations: [excluded, kept],
    cascade: false,
    restartIdentity: false,
  };
  const row = ['1', 'a', 'b'];
  const messages = [excluded, insert(excluded, row), update(excluded, row, { old: row }), kept, truncate];
  const found = await changes([...messages, insert(excluded, row), insert(kept, row)], lookUp);
  assert.deepEqual(
    found.map((each) => [Reflect.get(each as object, 'table'), Reflect.get(each as object, 'operation')]),
    [
      ['t1', 'TRUNCATE'],
      ['t1', 'INSERT'],
    ],
  );
});

test('a row that is too large stops it unless it is left out', async () => {
  const full = relation(1, 'f');
  const oversized: PgoutputMessage = { kind: 'oversized', relationOid: 1, relation: full, frameBytes: 2 ** 30 };
  await assert.rejects(changes([full, oversized]), /SYN-K007.*public\.t1/);
  assert.deepEqual(await changes([full, oversized], async () => 'excluded'), []);
  const origin: PgoutputMessage = { kind: 'origin', commitLsn: 1n, name: 'syncline_5_us' };
  assert.deepEqual(await changes([origin, full, oversized]), []);
});

describe('origins', () => {
  const full = relation(1, 'f');
  const origin = (name: string): PgoutputMessage => ({ kind: 'origin', commitLsn: 1n, name });

  test('of ours leave an empty transaction, which still ends', async () => {
    const messages = [origin('syncline_5_us'), full, insert(full, ['1', 'a', 'b']), message('{"members":["eu"]}')];
    const never = async (): Promise<never> => assert.fail('no key is needed');
    assert.deepEqual(await changes(messages, never), []);
  });

  test('of other tools, also of another database, are local writes, and are told before the changes', async () => {
    for (const name of ['pg_16395', 'syncline_55_us']) {
      const [told, change, ...rest] = await changes([origin(name), full, insert(full, ['1', 'a', 'b'])]);
      assert.equal(told, 'foreign');
      assert.ok(typeof change === 'object');
      assert.equal(rest.length, 0);
    }
  });

  test('count for one transaction', async () => {
    const first = [begin(1n), origin('syncline_5_us'), full, insert(full, ['1', 'a', 'b']), commit(1n)];
    const calls = await assemble([...first, begin(2n), insert(full, ['2', 'a', 'b']), commit(2n)]);
    assert.equal(calls.length, 5);
  });
});

test('heartbeats are passed on, and any other message is nothing to us', async () => {
  const calls = await changes([
    message('{"members":["eu","us"]}'),
    message('{"members":["eu"]}', 'other'),
    message('not json'),
    message('{"members":[1]}'),
    message('null'),
  ]);
  assert.deepEqual(calls, [['heartbeat', 'eu', 'us']]);
  assert.deepEqual(await assemble([message('{"members":["eu"]}', HEARTBEAT_PREFIX, false)]), []);
});

test('decisions about parked rows are changes, where they know the secret', async () => {
  const decision = {
    secret: 'secret',
    schema: 'public',
    table: 't',
    pk: { b: '2', a: '1' },
    before: { a: '1', b: '2', v: 'x' },
    after: { a: '1', b: '2', v: 'y' },
  };
  const wrong = [
    { ...decision, secret: 'guessed' },
    { ...decision, secret: undefined },
    { ...decision, pk: {} },
    { ...decision, pk: { c: '1' } },
    { ...decision, before: null },
    { ...decision, after: { v: 1 } },
    { ...decision, table: null },
  ];
  const texts = [decision, { ...decision, after: null }, ...wrong].map((each) => JSON.stringify(each));
  const { schema, table: name, before, after } = decision;
  const common = { schema, table: name, key: ['b', 'a'], before, operator: true };
  assert.deepEqual(await changes([...texts, 'no json'].map((text) => message(text, OPERATOR_PREFIX))), [
    { ...common, operation: 'UPDATE', after },
    { ...common, operation: 'DELETE', after: null },
  ]);
});

test('messages out of their place are refused', async () => {
  const full = relation(1, 'f');
  const cases = [
    [insert(full, ['1', 'a', 'b'])],
    [{ kind: 'oversized', relationOid: 1, relation: full, frameBytes: 9 } as const],
    [commit(1n)],
    [begin(1n), begin(2n)],
    [begin(1n), commit(2n)],
    [message('{"members":[]}')],
  ];
  for (const messages of cases) {
    await assert.rejects(assemble(messages), (error) => error instanceof SynclineError && error.code === 'SYN-K006');
  }
});
