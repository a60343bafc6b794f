/**
 * Decisions of operators about a parked row whose key somebody of the region has taken, in the batches that are hard: a real
 * lane, on the model of a database. Every other region goes by versions alone, so what is due is plain.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lane } from '../../src/apply/lane/lane.ts';
import type { LaneItem } from '../../src/apply/lane-item.ts';
import { type ChangeEvent, type Image, microsToIso } from '../../src/change/change-event.ts';
import { eventId } from '../../src/change/event-id.ts';
import { hlcFromMicros, hlcToText } from '../../src/change/hlc.ts';
import { lsnToText, makePosition, type Position } from '../../src/change/position.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { Stability } from '../../src/clock/stability.ts';
import { ModelApplyPort } from './model-apply-port.ts';
import { ModelDatabase } from './model-database.ts';
import { ModelSession } from './model-foreground.ts';
import { ModelStore } from './model-store.ts';

const EPOCH = '0000000000000000001';
const HOME = 'home';
const BEGAN_MICROS = 1_700_000_000_000_000n;
const atOnce = async (): Promise<void> => undefined;

const blocker: Image = { id: '2', v: 'blocker', u: '1', w: null };
const parked: Image = { id: '1', v: 'parked', u: '1', w: null };
const taken: Image = { id: '1', v: 'taken', u: '5', w: null };
const edited: Image = { id: '1', v: 'edited', u: '7', w: null };

type Change = Pick<ChangeEvent, 'operation' | 'before_image' | 'after_image'> & Partial<ChangeEvent>;
/** `xid` and `commitMicros` are those of a commit of this region; else the stamp is the commit's, and one more. */
type Made = { readonly xid?: number; readonly commitMicros?: bigint };

const insert = (after: Image): Change => ({ operation: 'INSERT', before_image: null, after_image: after });
const update = (before: Image, after: Image): Change => ({
  operation: 'UPDATE',
  before_image: before,
  after_image: after,
});
const edit = (after: Image): Change => ({ ...update(parked, after), operator: true });
const discard: Change = { operation: 'DELETE', before_image: parked, after_image: null, operator: true };
/** What no two steps of a batch may pass. */
const barrier: Change = { operation: 'TRUNCATE', before_image: null, after_image: null, table_name: 'kv' };

class Home {
  readonly #database: ModelDatabase;
  readonly #store = new ModelStore();
  readonly #lane: Lane;
  readonly #tails = new Map<string, Position>();
  #now = BEGAN_MICROS;
  #lsn = 100_000n;

  constructor() {
    this.#database = new ModelDatabase(HOME, () => (this.#now += 1n));
    for (const table of ['claims', 'kv']) this.#database.table(table);
    const ledger = new NotesLedger();
    ledger.reset({ rows: [], end: 0n });
    const port = new ModelApplyPort(this.#database, this.#store, atOnce);
    this.#lane = new Lane(port, ledger, new Stability(HOME, ['eu', 'ap']), {
      region: HOME,
      onError: 'quarantine',
      isReplicated: () => true,
      eventAt: async () => null,
    });
  }

  async open(): Promise<void> {
    await this.#lane.open();
  }

  /** The n-th millisecond's transaction of a region with one change. */
  item(origin: string, n: number, change: Change, { xid = 7, commitMicros }: Made = {}): LaneItem {
    this.#lsn += 10n;
    const position = makePosition(EPOCH, this.#lsn);
    const predecessor = this.#tails.get(origin) ?? null;
    this.#tails.set(origin, position);
    const micros = BEGAN_MICROS + 100_000_000n + BigInt(n) * 1_000n;
    const hlc = hlcFromMicros(micros) + 1n;
    const event_id = eventId(hlc, origin, position, 0);
    const { after_image, before_image } = change;
    const event: ChangeEvent = {
      event_id,
      region_id: origin,
      schema_name: 'public',
      table_name: 'claims',
      row_pk: change.operation === 'TRUNCATE' ? {} : { id: (after_image ?? before_image)?.id ?? null },
      committed_at: microsToIso(commitMicros ?? micros),
      hlc_timestamp: hlcToText(hlc),
      region_tags: [origin],
      transaction: {
        id: xid,
        epoch: EPOCH,
        commit_lsn: lsnToText(this.#lsn),
        index: 0,
        last: true,
        predecessor,
        seen: {},
      },
      ...change,
    };
    const { committed_at } = event;
    const first_offset = Number(this.#lsn);
    const source = { position, hlc, seen: {}, xid, committed_at, events: [event], first_offset };
    return { kind: 'transaction', position, predecessor, log_offset: first_offset, event_id, source };
  }

  async apply(origin: string, ...items: readonly LaneItem[]): Promise<void> {
    await this.#lane.apply(origin, items);
  }

  /** A commit of a user, or of a tool with an origin of its own, whose writes may be those of a subtransaction. */
  async commit(
    how: { readonly isTool: boolean; readonly inSubtransaction: boolean },
    write: (session: ModelSession) => Promise<unknown>,
  ): Promise<Required<Made>> {
    const session = new ModelSession(this.#database, atOnce);
    if (how.isTool) session.foreignOrigin(915_148_800_000_000n);
    if (how.inSubtransaction) session.savepoint('s');
    await write(session);
    await session.commit();
    const commit = this.#database.wal.at(-1);
    assert.ok(commit !== undefined);
    return { xid: commit.xid, commitMicros: commit.commitMicros };
  }

  /** Has a row parked under key 1. */
  async park(blockerAt: number, parkedAt: number): Promise<void> {
    await this.apply('eu', this.item('eu', blockerAt, insert(blocker)));
    await this.apply('ap', this.item('ap', parkedAt, insert(parked)));
    assert.deepEqual(this.parked, ['parked']);
  }

  /** Goes on until all that is to be looked at again was. */
  async settle(): Promise<void> {
    for (let n = 500; n < 506; n += 1) {
      const other = (id: number): Change => ({ ...insert({ id: String(id), v: 'x', u: null }), table_name: 'kv' });
      await this.apply('eu', this.item('eu', n, other(1_000 + n)));
      await this.apply(HOME, this.item(HOME, n, other(2_000 + n)));
      for (let turn = 0; turn < 3; turn += 1) await this.#lane.lookAgain();
      if (this.#lane.isUnsettled) await this.#lane.settle();
    }
  }

  /** What key 1 holds. */
  get row(): string | null {
    return this.#database.table('claims').slots.get('1')?.tuple?.image.v ?? null;
  }

  get parked(): (string | null | undefined)[] {
    return [...this.#store.parked.values()].map(({ image }) => image.v);
  }
}

type History = {
  readonly what: string;
  readonly run: (home: Home) => Promise<void>;
  readonly row: string | null;
  readonly parked?: readonly string[];
};

const byTool = { isTool: true, inSubtransaction: true } as const;
const byUser = { isTool: false, inSubtransaction: true } as const;
const take = async (session: ModelSession): Promise<void> => await session.insert('claims', '1', taken);

/** Somebody takes the key of a parked row; then an operator decides; both come back in one batch, with something between or not. */
function takenAndDecided(how: Parameters<Home['commit']>[0], decision: Change, between: readonly Change[]) {
  return async (home: Home): Promise<void> => {
    await home.park(2, 1);
    const { xid, commitMicros } = await home.commit(how, take);
    // The stamp of a user's write is pushed; that of a tool says nothing.
    const made = how.isTool ? { xid } : { xid, commitMicros };
    await home.apply(
      HOME,
      home.item(HOME, 10, insert(taken), made),
      ...between.map((change) => home.item(HOME, 11, change)),
      home.item(HOME, 12, decision),
    );
  };
}

const HISTORIES: readonly History[] = [
  ...[byTool, byUser].flatMap((how) =>
    [[], [barrier]].flatMap((between): History[] => {
      const who = how.isTool ? "another tool's subtransaction" : "a user's subtransaction";
      const where = between.length === 0 ? 'right behind' : 'behind a barrier behind';
      return [
        { what: `an edit ${where} ${who}`, run: takenAndDecided(how, edit(edited), between), row: 'edited' },
        { what: `a discard ${where} ${who}`, run: takenAndDecided(how, discard, between), row: null },
      ];
    }),
  ),
  {
    what: 'an edit behind a later write of the same values, behind a barrier,',
    run: async (home) => {
      await home.park(2, 1);
      const first = await home.commit(byTool, take);
      const second = await home.commit({ isTool: true, inSubtransaction: false }, async (session) => {
        await session.update('claims', '1', (image) => ({ ...image }));
      });
      await home.apply(
        HOME,
        home.item(HOME, 10, insert(taken), { xid: first.xid }),
        home.item(HOME, 11, barrier),
        home.item(HOME, 12, update(taken, taken), { xid: second.xid }),
        home.item(HOME, 13, edit(edited)),
      );
    },
    row: 'edited',
  },
  {
    what: 'an edit to what is there',
    run: async (home) => {
      await takenAndDecided(byTool, edit(taken), [barrier])(home);
      // Below the edit, and above what was there before.
      await home.apply('ap', home.item('ap', 11, insert({ id: '1', v: 'lower', u: null, w: null })));
    },
    row: 'taken',
  },
  {
    what: 'a decision that loses to what is parked',
    run: async (home) => {
      await home.park(30, 1);
      const higher = update(parked, { ...parked, v: 'higher' });
      await home.apply('ap', home.item('ap', 25, higher));
      const { xid } = await home.commit(byTool, take);
      await home.apply(HOME, home.item(HOME, 10, insert(taken), { xid }), home.item(HOME, 12, edit(edited)));
    },
    row: null,
    parked: ['higher'],
  },
];

for (const { what, run, row, parked: stays = [] } of HISTORIES) {
  test(`${what} ends as everywhere`, async () => {
    const home = new Home();
    await home.open();
    await run(home);
    await home.settle();
    assert.deepEqual({ row: home.row, parked: home.parked }, { row, parked: stays });
  });
}
