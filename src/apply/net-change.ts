/**
 * From source transactions to the statements of one batch.
 *
 * Within a batch, changes to one row collapse to the last (net change); its chain of events is kept, because conflicts
 * are judged per event. A change of key is a removal of the old key and an upsert of the new one. A TRUNCATE is a
 * barrier: what comes before it must not be moved behind it. In exact mode nothing collapses: every change is a step of
 * its own, in order; that is how a batch is replayed when its net change runs into a constraint. Rows that are only told of
 * are steps of their own too: what decides about them is another rule.
 */
import type { ChangeEvent, Image } from '../change/change-event.ts';
import { type Hlc, hlcFromText } from '../change/hlc.ts';
import type { Position, Seen } from '../change/position.ts';
import { fail } from '../platform/errors.ts';
import type { RowKey, TableShape } from './apply-port.ts';

/** What apply needs of the transaction that an event belongs to. */
export type SourceTransaction = {
  readonly position: Position;
  readonly hlc: Hlc;
  readonly seen: Seen;
  readonly xid: number;
  readonly committed_at: string;
  /** Unix µs of its commit timestamp at the origin, where another tool gave it. */
  readonly stated_micros?: string;
  readonly events: readonly ChangeEvent[];
  /** Where the log holds it; unknown where it did not come from there. */
  readonly first_offset?: number;
};

export type ChainLink = {
  readonly event: ChangeEvent;
  readonly source: SourceTransaction;
  /** Whether the event leaves nothing under this key: a change of key is a removal here and an upsert there. */
  readonly removes: boolean;
};

export type RowOp = {
  readonly key: RowKey;
  readonly pk: Image;
  kind: 'upsert' | 'remove';
  /** What to write; null for a removal. */
  image: Image | null;
  /** The events of the row in this step, oldest first. */
  readonly chain: ChainLink[];
  last: ChainLink;
};

export type TableStep = { readonly shape: TableShape; readonly ops: Map<RowKey, RowOp> };
export type Step =
  | {
      readonly kind: 'rows';
      readonly tables: Map<string, TableStep>;
      /** Set where the rows are only told of: each `source` has the version of its row for a stamp (`claimed-rows.ts`). */
      readonly areClaims?: true;
    }
  | { readonly kind: 'truncate'; readonly shape: TableShape; readonly link: ChainLink };

export type KeyOf = (shape: TableShape, pk: Image) => RowKey;
export type ShapeOf = (event: ChangeEvent) => TableShape | null;

/** The key columns of an image, as the target names them; null where the image lacks one. */
export function pickKey(shape: TableShape, image: Image): Image | null {
  const pk: { [column: string]: string | null } = {};
  for (const column of shape.key) {
    const value = image[column];
    if (value === undefined) return null;
    pk[column] = value;
  }
  return pk;
}

/** The key that an event's row had before, where the event moved it to another; else null. */
export function formerKey(shape: TableShape, event: ChangeEvent): Image | null {
  if (event.operation !== 'UPDATE' || event.before_image === null) return null;
  const former = pickKey(shape, event.before_image);
  if (former === null) return null;
  return shape.key.some((column) => former[column] !== event.row_pk[column]) ? former : null;
}

/** Keys of the event's row as the target's key has them. */
export function currentKey(shape: TableShape, event: ChangeEvent): Image {
  const pk = pickKey(shape, event.row_pk);
  if (pk !== null) return pk;
  const fromImage = event.after_image === null ? null : pickKey(shape, event.after_image);
  if (fromImage !== null) return fromImage;
  throw fail('SYN-A003', `an event of ${shape.id} lacks the key column(s) ${shape.key.join(', ')}`, {
    context: { event_id: event.event_id },
  });
}

/**
 * Plans a batch. `shapeOf` gives null for events that are left out (quarantined, or of tables that are not replicated
 * here). `exact` keeps every change a step of its own.
 */
export function planBatch(
  transactions: readonly SourceTransaction[],
  shapeOf: ShapeOf,
  keyOf: KeyOf,
  exact: boolean,
): Step[] {
  const steps: Step[] = [];
  let rows: Map<string, TableStep> | null = null;
  let areClaims = false;
  const add = (
    shape: TableShape,
    kind: RowOp['kind'],
    pk: Image,
    image: Image | null,
    event: ChangeEvent,
    source: SourceTransaction,
  ): void => {
    const link: ChainLink = { event, source, removes: kind === 'remove' };
    const isClaim = event.claim !== undefined;
    if (rows === null || exact || isClaim !== areClaims) {
      rows = new Map();
      areClaims = isClaim;
      steps.push({ kind: 'rows', tables: rows, ...(isClaim ? { areClaims: true } : {}) });
    }
    let step = rows.get(shape.id);
    if (step === undefined) {
      step = { shape, ops: new Map() };
      rows.set(shape.id, step);
    }
    const key = keyOf(shape, pk);
    const known = step.ops.get(key);
    if (known === undefined) {
      step.ops.set(key, { key, pk, kind, image, chain: [link], last: link });
      return;
    }
    // A later image may lack columns that did not change (identity: key); the earlier one of the batch has them.
    known.image = kind === 'upsert' && known.image !== null && image !== null ? { ...known.image, ...image } : image;
    known.kind = kind;
    known.chain.push(link);
    known.last = link;
  };
  for (const source of transactions) {
    for (const event of source.events) {
      const shape = shapeOf(event);
      if (shape === null) continue;
      if (event.operation === 'TRUNCATE') {
        steps.push({ kind: 'truncate', shape, link: { event, source, removes: true } });
        rows = null;
      } else if (event.claim !== undefined) {
        const told = { ...source, hlc: hlcFromText(event.claim.version) };
        add(shape, 'upsert', currentKey(shape, event), event.after_image, event, told);
      } else if (event.operation === 'DELETE') {
        add(shape, 'remove', currentKey(shape, event), null, event, source);
      } else {
        const former = formerKey(shape, event);
        if (former !== null && keyOf(shape, former) !== keyOf(shape, currentKey(shape, event))) {
          add(shape, 'remove', former, null, event, source);
        }
        add(shape, 'upsert', currentKey(shape, event), event.after_image, event, source);
      }
    }
  }
  return steps;
}
