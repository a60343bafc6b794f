import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../../change/hlc.ts';
import { makePosition } from '../../change/position.ts';
import type { ApplyTransaction, ParkedRow, RowKey, TableShape, Tuple, VersionEntry } from '../apply-port.ts';
import { tupleVersion } from '../decide.ts';
import { ParkedKeys } from './parked-keys.ts';
import { type ArrivingRow, type Blocking, Parking, type RowsOfOne } from './parking.ts';

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

/** A user's, whose clock was behind. */
const TUPLE: Tuple = {
  xid: 40,
  stampMicros: 1_000_000n,
  writer: 'eu',
  local: true,
  foreign: false,
  own: false,
  image: { id: '2', u: 'x' },
};
const POSITION = makePosition('0000000000000000001', 7n);

class Fixture {
  readonly erased: RowKey[] = [];
  readonly #parking: Parking;

  /** `rival` is what the row that has the value by now is besides `TUPLE`; `own` its version, where this transaction wrote it. */
  constructor(rival: Partial<Tuple> = {}, parked: readonly RowKey[] = [], own?: VersionEntry) {
    const tuple: Tuple = { ...TUPLE, ...rival };
    const transaction = {
      rivals: async (_: TableShape, [arriving]: readonly ArrivingRow[]) =>
        new Map(this.erased.includes(RIVAL.key) ? [] : [[arriving?.key, [RIVAL]]]),
      erase: async (_shape: TableShape, { key }: { key: RowKey }) => void this.erased.push(key),
      putParked: async () => undefined,
    } as unknown as ApplyTransaction;
    const current = { tuple, version: tupleVersion(tuple, undefined) };
    const stand = async () =>
      new Map([[RIVAL.key, { current, exact: undefined, tombstone: undefined, parked: undefined }]]);
    const known = new ParkedKeys();
    known.load(parked.map((key) => ({ schema: SHAPE.schema, table: SHAPE.table, key })));
    this.#parking = new Parking(transaction, known, { origin: 'eu', stand, ownVersion: () => own });
  }

  /** `isUntold`: whether the echoes of users' rows are yet to come. */
  async makeRoom(isUntold: boolean, arriving = ARRIVING): Promise<Blocking | null> {
    return await this.#parking.makeRoom(SHAPE, arriving, ({ local }) => isUntold && local);
  }
}

describe('a row that arrives where another has its value', () => {
  test('displaces one that is older', async () => {
    const fixture = new Fixture({ writer: 'us', local: false });
    assert.equal(await fixture.makeRoom(true), null);
    assert.deepEqual(fixture.erased, [RIVAL.key]);
  });

  test('waits for one that is above it', async () => {
    const fixture = new Fixture({ stampMicros: 3_000_000n });
    assert.deepEqual(await fixture.makeRoom(true), { key: RIVAL.key, isUntold: false });
  });

  test('displaces a user`s row that is older by all that is told of it', async () => {
    const fixture = new Fixture();
    assert.equal(await fixture.makeRoom(false), null);
    assert.deepEqual(fixture.erased, [RIVAL.key]);
  });

  for (const [whose, rival] of [
    ['a user`s row with an older commit timestamp', {}],
    ['a row that another tool wrote', { foreign: true, stampMicros: null }],
  ] as const) {
    test(`waits for ${whose} that is still to be told by its echo`, async () => {
      const fixture = new Fixture(rival);
      assert.deepEqual(await fixture.makeRoom(true), { key: RIVAL.key, isUntold: true });
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

  test('of two with one version the one with the lower key is above, whoever arrives first, unless one transaction wrote both', async () => {
    const { version } = ARRIVING;
    const rival = { writer: 'eu', local: false, stampMicros: 2_000_000n };
    assert.deepEqual(tupleVersion({ ...TUPLE, ...rival }, undefined), version);
    assert.equal(await new Fixture(rival).makeRoom(false), null);
    const other: ArrivingRow = { ...ARRIVING, key: '["3"]', pk: { id: '3' }, position: POSITION };
    assert.deepEqual(await new Fixture(rival).makeRoom(false, other), { key: RIVAL.key, isUntold: false });
    const entry = { key: RIVAL.key, hlc: version.hlc, position: POSITION, event_id: '' };
    assert.equal(await new Fixture({ ...rival, own: true }, [], entry).makeRoom(false, other), null);
  });
});

describe('a TRUNCATE', () => {
  const parkedRow = (key: RowKey, event_id: string): ParkedRow => {
    const { hlc, origin } = ARRIVING.version;
    return { key, pk: {}, image: {}, hlc, origin, position: null, event_id, blocker: '' };
  };

  /** Of two rows of its version, one parked before this transaction and one by it: those that it drops. */
  async function drops(ofOne: RowsOfOne): Promise<RowKey[]> {
    const dropped: RowKey[] = [];
    const rows = new Map(['["1"]', '["2"]'].map((key) => [key, parkedRow(key, `of ${key}`)]));
    const transaction = {
      putParked: async () => undefined,
      parked: async (_: TableShape, keys: readonly RowKey[]) =>
        new Map([...rows].filter(([key]) => keys.includes(key))),
      dropParked: async (_: TableShape, keys: readonly RowKey[]) => void dropped.push(...keys),
      dropParkedBelow: async () => [],
    } as unknown as ApplyTransaction;
    const known = new ParkedKeys();
    known.load([{ schema: SHAPE.schema, table: SHAPE.table, key: '["2"]' }]);
    const view = { origin: 'eu', stand: async () => new Map(), ownVersion: () => undefined };
    const parking = new Parking(transaction, known, view);
    await parking.park(SHAPE, ARRIVING, RIVAL.key);
    await parking.dropBelow(SHAPE, ARRIVING.version, ofOne);
    return dropped;
  }

  test('that comes back drops what its own transaction parked before it, and leaves what that left parked', async () => {
    assert.deepEqual(await drops('parked here'), ['["1"]']);
  });

  test('that comes late drops what was parked of its transaction before it', async () => {
    assert.deepEqual(await drops((eventId) => eventId === 'of ["2"]'), ['["2"]']);
    assert.deepEqual(await drops(() => false), []);
  });
});
