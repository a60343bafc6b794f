import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../../change/hlc.ts';
import { Stability } from '../../clock/stability.ts';
import type { ApplyPort, ApplyTransaction, RipeLook, TableShape, Tuple } from '../apply-port.ts';
import { ParkedKeys } from '../batch/parked-keys.ts';
import { LookAgainRunner } from './look-again.ts';

const SHAPE = { id: '"public"."t"', schema: 'public', table: 't', key: ['id'] } as unknown as TableShape;
const KEY = '["1"]';
const REMOVED_AT = 1_000_000n;
/** What had not ended when the intent was found first. */
const XMAX = 50n;

const LOOK: Omit<RipeLook, 'snapshot'> = {
  look_id: '1',
  table: { schema: 'public', table: 't' },
  key: KEY,
  pk: { id: '1' },
  version: { hlc: hlcFromMicros(REMOVED_AT), origin: 'us' },
  restores: null,
};

/** Intents on many rows, none of which is there any more. */
class Many {
  readonly #runner: LookAgainRunner;
  #left: RipeLook[];
  #lsn = 100n;
  most = 0;

  constructor(count: number) {
    const snapshot = { xmin: XMAX, xmax: XMAX };
    this.#left = Array.from({ length: count }, (_, n) => ({ ...LOOK, look_id: String(n), key: `["${n}"]`, snapshot }));
    const transaction = {
      inspect: async () => new Map(),
      exactVersions: async () => new Map(),
      removeLooks: async (ids: readonly string[]) => {
        this.most = Math.max(this.most, ids.length);
        const removed = new Set(ids);
        this.#left = this.#left.filter(({ look_id }) => !removed.has(look_id));
      },
      commit: async () => undefined,
    } as unknown as ApplyTransaction;
    const port = {
      ripeLooks: async (limit: number) => this.#left.slice(0, limit),
      shape: async () => SHAPE,
      begin: async () => transaction,
    } as unknown as ApplyPort;
    const none = (): never => assert.fail('nothing else is asked for');
    this.#runner = new LookAgainRunner(port, new Stability('eu', ['us']), none, new ParkedKeys(), none);
  }

  /** How often the echo came on until all were settled; between two looks of which one settles something, it does not. */
  async echoes(): Promise<number> {
    for (let echoes = 1; ; echoes += 1) {
      this.#lsn += 10n;
      while ((await this.#runner.run('eu', this.#lsn, this.#lsn - 5n)) > 0);
      if (this.#left.length === 0) return echoes;
      assert.ok(echoes < 1_000, 'it comes to an end');
    }
  }
}

class Fixture {
  erased: string[] = [];
  snapshot = { xmin: 45n, xmax: XMAX };
  settled = false;
  readonly #runner: LookAgainRunner;

  constructor(tuple: Partial<Tuple>) {
    const row: Tuple = {
      xid: 40,
      stampMicros: REMOVED_AT - 1n,
      writer: 'eu',
      local: true,
      foreign: false,
      own: false,
      image: { id: '1' },
      ...tuple,
    };
    const transaction = {
      inspect: async () => new Map([[KEY, row]]),
      exactVersions: async () => new Map(),
      erase: async (_shape: TableShape, { key }: { key: string }) => void this.erased.push(key),
      removeLooks: async () => {
        this.settled = true;
      },
      commit: async () => undefined,
      rollback: async () => undefined,
    } as unknown as ApplyTransaction;
    const port = {
      ripeLooks: async () => (this.settled ? [] : [{ ...LOOK, snapshot: this.snapshot }]),
      shape: async () => SHAPE,
      begin: async () => transaction,
    } as unknown as ApplyPort;
    const none = (): never => assert.fail('nothing else is asked for');
    this.#runner = new LookAgainRunner(port, new Stability('eu', ['us']), none, new ParkedKeys(), none);
  }

  async run(notedLsn: bigint, echoedLsn: bigint): Promise<number> {
    return await this.#runner.run('eu', notedLsn, echoedLsn);
  }

  /** All that was in progress ends, the lane goes on, and the echo comes as far. */
  async settle(): Promise<void> {
    await this.run(100n, 90n);
    this.snapshot = { xmin: 60n, xmax: 70n };
    await this.run(110n, 100n);
    await this.run(120n, 110n);
    await this.run(130n, 120n);
    assert.equal(this.settled, true);
  }
}

describe('a removal that looks again', () => {
  test('takes a row that is older, and was there or about to be when it was found', async () => {
    const fixture = new Fixture({});
    await fixture.settle();
    assert.deepEqual(fixture.erased, [KEY]);
  });

  test('leaves a local row whose transaction ended later, whatever its clock says', async () => {
    for (const xid of [Number(XMAX), Number(XMAX) + 5]) {
      const fixture = new Fixture({ xid });
      await fixture.settle();
      assert.deepEqual(fixture.erased, []);
    }
  });

  test('leaves what another tool wrote, whose time says nothing until its echo has rewritten it', async () => {
    const fixture = new Fixture({ foreign: true });
    await fixture.settle();
    assert.deepEqual(fixture.erased, []);
  });

  test('takes an applied row that is older, whenever it was applied', async () => {
    const fixture = new Fixture({ xid: Number(XMAX) + 5, local: false, writer: 'ap' });
    await fixture.settle();
    assert.deepEqual(fixture.erased, [KEY]);
  });

  test('waits until all that may have ended has, and the echo has passed the first note after that', async () => {
    const fixture = new Fixture({});
    await fixture.run(100n, 90n);
    // Some of them are still at work, however far the echo comes.
    await fixture.run(500n, 500n);
    assert.equal(fixture.settled, false);
    fixture.snapshot = { xmin: XMAX, xmax: 70n };
    await fixture.run(510n, 600n);
    await fixture.run(510n, 600n);
    assert.equal(fixture.settled, false, 'there is no later note');
    await fixture.run(520n, 519n);
    assert.equal(fixture.settled, false, 'the echo has not come to it');
    await fixture.run(520n, 520n);
    assert.equal(fixture.settled, true);
  });

  test('waits together with very many others, and is settled with few of them', async () => {
    const [few, many] = [new Many(100), new Many(10_000)];
    const once = await few.echoes();
    assert.ok((await many.echoes()) <= once + 5, 'they wait hardly longer than few do');
    assert.equal(many.most, 500);
  });
});
