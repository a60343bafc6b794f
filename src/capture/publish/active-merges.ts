/**
 * Which version of a merge rule each captured change goes by.
 *
 * The region's own activation row says so, and its changes stand in the WAL between the changes that they are about: from
 * each of them on, within the same transaction too, the table's changes name what it says. So what an event names follows
 * from the WAL, and no clock, message or lock is needed between whoever activates and whoever writes.
 *
 * At a start the rows are read from the database, which may be ahead of the first change that the slot sends. Then changes
 * from before an activation name the newer version early, until an older change of the row goes by in the WAL. That does
 * no harm: nobody has read those events yet, and a region activates only what every region has acknowledged. Their ids do
 * not hang on what they name. (Starting from nothing instead would let changes of a counter pass for plain writes.)
 */

import type { Image } from '../../change/change-event.ts';
import { isInShare } from '../../change/key-share.ts';
import { ACTIVATION_TABLE, REGISTRY_SCHEMA, type Rollout } from '../../change/merge-registry.ts';
import type { Queryable } from '../../platform/standing-connection.ts';
import type { RowChange } from './decoded-transaction.ts';

type Activation = Rollout & { readonly schema_name: string; readonly table_name: string };

export class ActiveMerges {
  readonly #region: string;
  readonly #byTable = new Map<string, Activation>();

  constructor(region: string, activations: readonly Activation[] = []) {
    this.#region = region;
    for (const activation of activations) this.#set(activation);
  }

  /** Takes the next change in WAL order, and returns it with the versions that it goes by. */
  next(change: RowChange): RowChange {
    this.#follow(change);
    if (this.#byTable.size === 0 || change.operator === true) return change;
    const active = this.#byTable.get(nameOf(change.schema, change.table));
    if (active === undefined) return change;
    const [merge, merge_shadow] = namedBy(active, change);
    if (merge === null && merge_shadow === null) return change;
    return {
      ...change,
      ...(merge === null ? {} : { merge }),
      ...(merge_shadow === null ? {} : { merge_shadow }),
    };
  }

  #follow({ schema, table, before, after }: RowChange): void {
    if (table !== ACTIVATION_TABLE || schema !== REGISTRY_SCHEMA) return;
    if (before?.region === this.#region) this.#byTable.delete(nameOf(before.schema_name, before.table_name));
    if (after?.region === this.#region) this.#set(activationOf(after));
  }

  #set(activation: Activation): void {
    this.#byTable.set(nameOf(activation.schema_name, activation.table_name), activation);
  }
}

/** The region's own rows as the database has them. */
export async function readActiveMerges(database: Queryable, region: string): Promise<ActiveMerges> {
  const { rows } = await database.query(
    `select schema_name, table_name, version_id, base_version_id, mode, percent
       from syncline.merge_activation where region = $1`,
    [region],
  );
  return new ActiveMerges(
    region,
    rows.map((row) => activationOf(row as Image)),
  );
}

function activationOf({ schema_name, table_name, version_id, base_version_id, mode, percent }: Image): Activation {
  return {
    schema_name: schema_name ?? '',
    table_name: table_name ?? '',
    version_id: version_id ?? null,
    base_version_id: base_version_id ?? null,
    mode: mode === 'shadow' || mode === 'percent' ? mode : 'immediate',
    percent: Number(percent ?? 100),
  };
}

/** What the change goes by, and what is only run beside it. */
function namedBy(active: Activation, change: RowChange): readonly [string | null, string | null] {
  const { version_id, base_version_id, mode, percent } = active;
  switch (mode) {
    case 'immediate':
      return [version_id, null];
    case 'shadow':
      return [base_version_id, version_id];
    case 'percent':
      return [isTaken(change, percent) ? version_id : base_version_id, null];
  }
}

/** By the key after the change. A TRUNCATE is about all rows, and is taken with the last of them. */
function isTaken(change: RowChange, percent: number): boolean {
  if (change.operation === 'TRUNCATE') return percent >= 100;
  const image = change.operation === 'DELETE' ? change.before : change.after;
  const key = change.key.map((column) => image?.[column] ?? change.before?.[column] ?? null);
  return isInShare(change, key, percent);
}

const nameOf = (schema: string | null | undefined, table: string | null | undefined): string =>
  JSON.stringify([schema, table]);
