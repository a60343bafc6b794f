import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../change/hlc.ts';
import type { ApplyTransaction, RowKey, TableShape, Tuple } from './apply-port.ts';
import { tupleVersion } from './decide.ts';
import { ParkedKeys } from './parked-keys.ts';
import { type ArrivingRow, Parking } from './parking.ts';

const SHAPE = { id: '"public"."t"', schema: 'public', table: 't', key: ['id'] } as unknown as TableShape;
const ARRIVING: ArrivingRow = {
  key: '["1"]',
  pk: { id: '1' },
  image: { id: '1', u: 'x' },
  version: { hlc: hlcFromMicros(2_000_000n), origin: 'eu' },
  position: null,
  event_id: null,
};
const RIVAL = { key: '["2"]', pk: { id: '2' } };

class Fixture {
  readonly erased: RowKey[] = [];
  readonly #parking: Parking;

  /** `rival` is the row that has the value by now; unless it says otherwise a user's, whose clock was behind. */
  constructor(rival: Partial<Tuple> = {}, parked: readonly RowKey[] = []) {
    const tuple: Tuple = {
      xid: 40,
      stampMicros: 1_000_000n,
      writer: 'eu',
      local: true,
      foreign: false,
      own: false,
      image: { id: '2', u: 'x' },
      ...rival,
    };
    const transaction = {
      rivals: async () => new Map(this.erased.includes(RIVAL.key) ? [] : [[ARRIVING.key, [RIVAL]]]),
      erase: async (_shape: TableShape, { key }: { key: RowKey }) => void this.erased.push(key),
      putParked: async () => undefined,
    } as unknown as ApplyTransaction;
    const current = { tuple, version: tupleVersion(tuple, undefined) };
    const stand = async () =>
      new Map([[RIVAL.key, { current, exact: undefined, tombstone: undefined, parked: undefined }]]);
    const known = new ParkedKeys();
    known.load(parked.map((key) => ({ schema: SHAPE.schema, table: SHAPE.table, key })));
    this.#parking = new Parking(transaction, known, { origin: 'eu', stand, ownVersion: () => undefined });
  }

  async makeRoom(isEcho: boolean): Promise<RowKey | null> {
    return await this.#parking.makeRoom(SHAPE, ARRIVING, isEcho);
  }
}

describe('a row that arrives where another has its value', () => {
  test('displaces one that is older', async () => {
    const fixture = new Fixture({ writer: 'us', local: false });
    assert.equal(await fixture.makeRoom(true), null);
    assert.deepEqual(fixture.erased, [RIVAL.key]);
  });

  test('displaces a user`s row that seems older, if it comes from elsewhere or from before', async () => {
    const fixture = new Fixture();
    assert.equal(await fixture.makeRoom(false), null);
    assert.deepEqual(fixture.erased, [RIVAL.key]);
  });

  for (const [whose, rival] of [
    ['a user`s row with an older commit timestamp', {}],
    ['a row that another tool wrote', { foreign: true, stampMicros: null }],
  ] as const) {
    test(`waits for ${whose} if it comes back as an echo: that one came later`, async () => {
      const fixture = new Fixture(rival);
      assert.equal(await fixture.makeRoom(true), RIVAL.key);
      assert.deepEqual(fixture.erased, []);
    });
  }

  test('displaces one whose time is forgotten only where nothing is parked that it could have to be told apart from', async () => {
    const forgotten = { stampMicros: null, forgotten: true } as const;
    assert.equal(await new Fixture(forgotten).makeRoom(false), null);
    const beside = new Fixture(forgotten, ['["3"]']);
    await assert.rejects(beside.makeRoom(false), { code: 'SYN-A011' });
    assert.deepEqual(beside.erased, []);
  });
});
