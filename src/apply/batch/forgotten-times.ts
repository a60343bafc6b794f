/**
 * Rows of which PostgreSQL has forgotten when they were written.
 *
 * The commit timestamp of a tuple's xmin is its version. PostgreSQL drops these timestamps once every database of the server
 * is frozen beyond them: at the latest after some 200 million transactions, which a busy server makes in days. A tuple without one
 * passes for older than everything, and so it is, as long as no event is still to come from before the time that is
 * forgotten. A region that was away for longer brings such events; taken for newer than the row, an older write would
 * replace a newer one here and nowhere else.
 *
 * So an event from about that time or before is applied only if no row that it would replace, or take a unique value
 * from, is one of those; else its link waits, and says why. Rows from before the region's stream began never had a
 * version, and rows of the event's own stream are older than it, whatever they show. The bound is looked up before the batch is written and once more
 * behind it: if it has moved meanwhile, a statement may have seen a tuple whose time was known a moment ago.
 */
import { type Hlc, hlcMicros } from '../../change/hlc.ts';
import { fail } from '../../platform/errors.ts';
import type { ApplyPort, ApplyTransaction, TableShape } from '../apply-port.ts';
import type { KeyedRow } from '../history/standing-row.ts';
import type { RowOp, SourceTransaction, Step } from '../net-change.ts';

/**
 * By itself a server freezes nothing younger than vacuum_freeze_min_age. It takes somebody who freezes all databases by hand,
 * the template that takes no connections among them, to forget a commit within this time.
 */
const YOUNG_MICROS = 2_000_000n;
/** A transaction that ran for long has an old id and a young timestamp. */
const LONG_TRANSACTION_MICROS = 3_600_000_000n;

/** What the bound was when a batch of old events was let through; null for events that are too young to matter. */
export type TimesChecked = { readonly forgottenTo: bigint | null } | null;

export class ForgottenTimes {
  readonly #port: ApplyPort;
  readonly #region: string;
  readonly #nowMicros: () => bigint;

  constructor(port: ApplyPort, region: string, nowMicros = (): bigint => BigInt(Date.now()) * 1_000n) {
    this.#port = port;
    this.#region = region;
    this.#nowMicros = nowMicros;
  }

  /** Throws SYN-A011 where a row that the steps write may be newer than their events, and nobody knows. */
  async check(
    transaction: ApplyTransaction,
    { origin, isEcho }: { readonly origin: string; readonly isEcho: boolean },
    sources: readonly SourceTransaction[],
    steps: readonly Step[],
  ): Promise<TimesChecked> {
    const least = hlcMicros(leastOf(sources));
    if (this.#nowMicros() - least < YOUNG_MICROS) return null;
    const forgottenTo = await this.#port.forgottenTo();
    if (forgottenTo === null || least > forgottenTo + LONG_TRANSACTION_MICROS) return { forgottenTo };
    for (const step of steps) {
      if (step.kind === 'truncate') {
        if (await transaction.hasForgotten(step.shape)) throw this.#doubt(origin, step.shape, 'rows');
        continue;
      }
      for (const { shape, ops } of step.tables.values()) {
        const rows = [...ops.values()];
        const key =
          (await this.#forgottenKey(transaction, { origin, isEcho }, shape, rows)) ??
          (await this.#forgottenKey(transaction, { origin, isEcho }, shape, await rivalsOf(transaction, shape, rows)));
        if (key !== null) throw this.#doubt(origin, shape, `the row ${key}`);
      }
    }
    return { forgottenTo };
  }

  /** Throws where times were forgotten while the batch was written. */
  async confirm(checked: TimesChecked, origin: string): Promise<void> {
    if (checked === null || (await this.#port.forgottenTo()) === checked.forgottenTo) return;
    throw fail('SYN-A011', `times of rows were forgotten while events of ${origin} were applied`, {
      context: { origin },
    });
  }

  async #forgottenKey(
    transaction: ApplyTransaction,
    { origin, isEcho }: { readonly origin: string; readonly isEcho: boolean },
    shape: TableShape,
    rows: readonly KeyedRow[],
  ): Promise<string | null> {
    if (rows.length === 0) return null;
    const tuples = await transaction.inspect(shape, rows);
    const doubtful = [...tuples].filter(([, { forgotten, local, writer }]) => {
      return forgotten === true && (local ? !isEcho : writer !== origin);
    });
    const applied = doubtful.filter(([, { local }]) => !local).map(([key, { xid }]) => ({ key, xid }));
    const exact = applied.length === 0 ? new Map() : await transaction.exactVersions(shape, applied);
    return doubtful.find(([key]) => !exact.has(key))?.[0] ?? null;
  }

  #doubt(origin: string, shape: TableShape, what: string): Error {
    const detail = `${what} of ${shape.id} may be newer than an event of ${origin}: ${this.#region} has forgotten when it was written`;
    return fail('SYN-A011', detail, { context: { origin, table: shape.id } });
  }
}

/** The visible rows that have values which these rows claim. */
async function rivalsOf(
  transaction: ApplyTransaction,
  shape: TableShape,
  ops: readonly RowOp[],
): Promise<readonly KeyedRow[]> {
  const claiming = ops.flatMap(({ key, pk, image }) => (image === null ? [] : [{ key, pk, image }]));
  if (!shape.hasClaims || claiming.length === 0) return [];
  const found = [...(await transaction.rivals(shape, claiming)).values()].flat();
  return [...new Map(found.map((row) => [row.key, row])).values()];
}

function leastOf(sources: readonly SourceTransaction[]): Hlc {
  let least: Hlc | null = null;
  for (const { hlc } of sources) if (least === null || hlc < least) least = hlc;
  return least ?? 0n;
}
