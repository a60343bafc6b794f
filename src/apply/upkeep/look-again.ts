/**
 * Rows that are looked at again.
 *
 * A commit can be captured, applied elsewhere and answered before it is visible here (a slow fsync, a synchronous
 * standby). An applied removal that finds no row may therefore be about a row that is about to appear. It leaves a durable
 * intent; once every transaction that was in progress then has ended, whatever older version appeared is removed. The
 * intent keeps its tombstone from being pruned until then.
 *
 * It also waits until the echo has passed all of them that may have written a row it would take. Where the clock is behind, a
 * local write that has seen the removal has a commit timestamp that tells otherwise; its stamp is pushed, and until its echo the
 * row does not show that. So a ripe intent notes the ids that may have ended when it is found, waits until all below have, and
 * then until the echo has come to the first note after that: a WAL position above all of them. A local row with a later id
 * was committed after the removal was here, so it has seen it, and stays. So does what another tool wrote and no echo has
 * rewritten by then: it came later, whatever its commit timestamp says.
 *
 * To go by the ids that were drawn when the intent was left is wrong: a transaction can begin after that and still commit
 * below the removal's note.
 *
 * The echo of such a pushed write may find its row gone, and cannot tell at once who was right. It leaves an intent to
 * put the row back: by the time that it is settled, a later local removal has been echoed and speaks against it. Where
 * another region's event does, the write has lost to it; nothing met its row meanwhile that could have told.
 */
import type { ChangeEvent, Image } from '../../change/change-event.ts';
import { hlcMicros, hlcMicrosCeil } from '../../change/hlc.ts';
import { isAbove } from '../../change/version.ts';
import type { Stability } from '../../clock/stability.ts';
import { isDataFault, SynclineError, sqlStateOf } from '../../platform/errors.ts';
import {
  type ApplyPort,
  type ApplyTransaction,
  EVERY_ROW,
  type ExactVersion,
  type Guard,
  type RipeLook,
  type RowKey,
  type TableShape,
  type Tuple,
} from '../apply-port.ts';
import type { BatchWriter } from '../batch/batch-writer.ts';
import type { ParkedKeys } from '../batch/parked-keys.ts';
import { type Current, tupleVersion } from '../decide.ts';
import { rowLossEntry, type Side } from '../history/conflicts.ts';
import type { UnsettledEvents } from '../history/unsettled-events.ts';
import { toQuarantine } from '../quarantine-entry.ts';
import { fullXidNear } from '../sql/sql-xid.ts';
import { isClaimViolation, type MakeWriter } from './parked-settler.ts';

/** Settled in one turn of the lane, so that other streams have theirs. */
const LOOKS_PER_TURN = 500;
/** Those that wait do so together: a wait takes seconds, and where two regions empty one table there are as many as its rows. */
const LOOKS_WAITING_MAX = 10_000;
/** How often a row is put back that a user's values are in the way of. */
const RACES_MAX = 16;

/** A ripe intent, until it is settled. */
type Waiting = {
  /** Transactions with this id, or a later one, had not ended when it was found. */
  readonly xmax: bigint;
  /** The newest note once all below had ended. */
  endedAt: bigint | null;
  /** The first note after that one. */
  echoTo: bigint | null;
};

export class LookAgainRunner {
  readonly #port: ApplyPort;
  readonly #stability: Stability;
  readonly #unsettled: () => UnsettledEvents;
  readonly #makeWriter: MakeWriter;
  readonly #parked: ParkedKeys;
  readonly #races = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting>();
  /** How many are looked for. */
  #limit = LOOKS_PER_TURN;

  constructor(
    port: ApplyPort,
    stability: Stability,
    makeWriter: MakeWriter,
    parked: ParkedKeys,
    unsettled: () => UnsettledEvents,
  ) {
    this.#port = port;
    this.#stability = stability;
    this.#makeWriter = makeWriter;
    this.#parked = parked;
    this.#unsettled = unsettled;
  }

  /**
   * Settles the intents that are ripe, one origin at a time; returns how many. `notedLsn` is where the newest batch was
   * noted, `echoedLsn` how far the own stream is echoed.
   */
  async run(region: string, notedLsn: bigint, echoedLsn: bigint): Promise<number> {
    const found = await this.#port.ripeLooks(this.#limit);
    const echoed = found.filter((look) => this.#isEchoed(look, notedLsn, echoedLsn));
    const ripe = echoed.slice(0, LOOKS_PER_TURN);
    if (found.length < LOOKS_PER_TURN) this.#limit = LOOKS_PER_TURN;
    else if (found.length === this.#limit && echoed.length === 0) {
      this.#limit = Math.min(LOOKS_WAITING_MAX, 2 * this.#limit);
    }
    const byOrigin = Map.groupBy(
      ripe.filter((look) => look.restores === null),
      (look) => look.version.origin,
    );
    for (const [origin, looks] of byOrigin) {
      await this.#inTransaction(origin, looks, async (transaction) => {
        for (const together of alike(looks)) await this.#remove(transaction, together, region);
      });
    }
    // One by one, because each may run into a constraint.
    let kept = 0;
    for (const look of ripe) if (look.restores !== null && !(await this.#restore(look, look.restores))) kept += 1;
    for (const look of ripe) {
      this.#waiting.delete(look.look_id);
      this.#parked.touched(look.table.schema, look.table.table);
    }
    return ripe.length - kept;
  }

  #isEchoed({ look_id, snapshot }: RipeLook, notedLsn: bigint, echoedLsn: bigint): boolean {
    const waiting = this.#waiting.get(look_id) ?? { xmax: snapshot.xmax, endedAt: null, echoTo: null };
    this.#waiting.set(look_id, waiting);
    if (waiting.endedAt === null && snapshot.xmin >= waiting.xmax) waiting.endedAt = notedLsn;
    else if (waiting.endedAt !== null && notedLsn > waiting.endedAt) waiting.echoTo ??= notedLsn;
    return waiting.echoTo !== null && echoedLsn >= waiting.echoTo;
  }

  /** Whether the row is a local one that was committed after the removal was here. */
  #isFromAfter({ local, xid, stampMicros }: Tuple, { look_id }: RipeLook): boolean {
    const { xmax } = this.#waiting.get(look_id) ?? {};
    if (!local || stampMicros === null || xmax === undefined) return false;
    return fullXidNear(xmax, xid) >= xmax;
  }

  async #inTransaction(
    origin: string,
    looks: readonly RipeLook[],
    work: (transaction: ApplyTransaction) => Promise<void>,
  ): Promise<void> {
    let stamp = 0n;
    for (const look of looks) if (look.version.hlc > stamp) stamp = look.version.hlc;
    const transaction = await this.#port.begin(origin, hlcMicrosCeil(stamp));
    try {
      await work(transaction);
      await transaction.removeLooks(looks.map((look) => look.look_id));
      await transaction.commit();
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
  }

  /** False where the intent stays: a user was quicker, or a row is in the way whose time is forgotten, until it is written again. */
  async #restore(look: RipeLook, event: ChangeEvent): Promise<boolean> {
    const { origin } = look.version;
    const shape = await this.#port.shape(look.table.schema, look.table.table);
    let writer: BatchWriter | null = null;
    try {
      await this.#inTransaction(origin, [look], async (transaction) => {
        if (shape === null) return;
        writer = this.#makeWriter(transaction, origin);
        const isUntold = (tuple: Tuple): boolean => this.#isFromAfter(tuple, look);
        const winner = await writer.rows.restore(shape, look, event, isUntold);
        await writer.record(() => new Set());
        // An event that was not forgotten unsettled is judged from all events on its row.
        const { lostBelow } = this.#unsettled();
        const isJudged = look.version.hlc >= lostBelow || this.#unsettled().knows(shape.id, look.key, look.version);
        if (winner === null || winner.version.origin === origin || isJudged) return;
        const loser: Side = { version: look.version, event_id: event.event_id, image: event.after_image };
        await transaction.recordConflicts([rowLossEntry(shape, look.key, look.pk, loser, winner)]);
      });
      if (writer !== null) this.#parked.changed((writer as BatchWriter).parking.changes);
    } catch (error) {
      if (error instanceof SynclineError && error.code === 'SYN-A011') return false;
      if (!isDataFault(error)) throw error;
      // A user took a value between the look and the write: the intent stays, and its turn comes again.
      const races = this.#races.get(look.look_id) ?? 0;
      this.#races.set(look.look_id, races + 1);
      if (isClaimViolation(error) && races < RACES_MAX) return false;
      const poison = { sqlstate: sqlStateOf(error) ?? 'XX000', error: error instanceof Error ? error.message : '' };
      await this.#inTransaction(origin, [look], async (transaction) => {
        await transaction.recordQuarantine([toQuarantine(event, look.key, poison)]);
      });
    }
    this.#races.delete(look.look_id);
    return true;
  }

  /** Of intents that are alike. */
  async #remove(transaction: ApplyTransaction, looks: readonly RipeLook[], region: string): Promise<void> {
    const [first] = looks;
    const shape = first === undefined ? null : await this.#port.shape(first.table.schema, first.table.table);
    if (first === undefined || shape === null) return;
    if (first.key !== EVERY_ROW) return await this.#erase(transaction, shape, looks);
    const { left } = await transaction.removeAll(shape, first.version.hlc, this.#anythingOlder(first, region));
    await this.#erase(
      transaction,
      shape,
      left.map((row) => ({ ...first, ...row })),
    );
  }

  /** Removes the row of each intent, if it is older. */
  async #erase(transaction: ApplyTransaction, shape: TableShape, looks: readonly RipeLook[]): Promise<void> {
    const rows = new Map(looks.map(({ key, pk }) => [key, { key, pk }]));
    const found = await standing(transaction, shape, [...rows.values()]);
    for (const look of looks) {
      const current = found.get(look.key);
      if (current === undefined || current.tuple.foreign) continue;
      if (this.#isFromAfter(current.tuple, look)) continue;
      if (!isAbove(look.version, current.version)) continue;
      await transaction.erase(shape, { key: look.key, pk: look.pk });
      // Another intent on the row finds nothing.
      found.delete(look.key);
    }
  }

  #anythingOlder(look: RipeLook, region: string): Guard {
    const members = this.#stability.members.map((member) => [member, hlcMicros(look.version.hlc)] as const);
    // Local rows are looked at one by one: a statement cannot tell which of them another tool wrote.
    return { ...Object.fromEntries(members), [region]: 'never' };
  }
}

/** In their order, neighbours on single rows of one table together, and each on a whole table by itself. */
function alike(looks: readonly RipeLook[]): RipeLook[][] {
  const all: RipeLook[][] = [];
  for (const look of looks) {
    const together = all.at(-1);
    const before = together?.at(-1);
    const isAlike =
      before !== undefined &&
      before.key !== EVERY_ROW &&
      look.key !== EVERY_ROW &&
      before.table.schema === look.table.schema &&
      before.table.table === look.table.table;
    if (isAlike) together?.push(look);
    else all.push([look]);
  }
  return all;
}

type Standing = NonNullable<Current> & { readonly exact: ExactVersion | undefined };

/** Those rows that are there, with their versions; they are locked by that. */
async function standing(
  transaction: ApplyTransaction,
  shape: TableShape,
  rows: readonly { readonly key: RowKey; readonly pk: Image }[],
): Promise<Map<RowKey, Standing>> {
  const tuples = await transaction.inspect(shape, rows);
  const applied: { key: RowKey; xid: number }[] = [];
  for (const [key, tuple] of tuples) if (!tuple.local && !tuple.own) applied.push({ key, xid: tuple.xid });
  const exacts = await transaction.exactVersions(shape, applied);
  return new Map(
    [...tuples].map(([key, tuple]) => {
      const exact = exacts.get(key);
      return [key, { tuple, version: tupleVersion(tuple, exact), exact }];
    }),
  );
}
