/**
 * From source transactions to the steps of a batch on the tables as they are here: shapes, keys, and what cannot be
 * applied.
 *
 * Keys whose equality only the database knows are asked for all at once; of all others the text tells. In exact mode an
 * event that was found to fail, or whose table is missing here, is set aside; else it fails the whole plan, and the batch
 * is replayed exactly. What a later event of its transaction makes void is not kept.
 */
import type { ChangeEvent, Image } from '../../change/change-event.ts';
import { rowKey } from '../../change/row-key.ts';
import { fail } from '../../platform/errors.ts';
import {
  type ApplyPort,
  type ApplyTransaction,
  EVERY_ROW,
  type QuarantineEntry,
  type RowKey,
  type TableShape,
} from '../apply-port.ts';
import { EventFailure } from '../event-failure.ts';
import {
  currentKey,
  formerKey,
  type KeyOf,
  planBatch,
  type ShapeOf,
  type SourceTransaction,
  type Step,
} from '../net-change.ts';
import { type Poison, toQuarantine } from '../quarantine-entry.ts';

export type OnError = 'quarantine' | 'stop';

export type PlannedBatch = { readonly steps: Step[]; readonly quarantine: QuarantineEntry[] };

export type PlannerOptions = {
  readonly onError: OnError;
  /** Whether each event on the table counts, whatever comes behind it. */
  readonly isMerging: (shape: TableShape) => boolean;
  /** Whether this region replicates the table at all; events of others pass by. */
  readonly isReplicated: (schema: string, table: string) => boolean;
};

const MISSING_TABLE: Poison = { sqlstate: '42P01', error: 'SYN-A003 this region has no such table', isWhole: true };

/** What the events' tables are here; null for one that is not replicated here, or missing. */
class Shapes {
  readonly #shapes = new Map<string, TableShape | null>();
  /** Neighbours are mostly of one table, and making its name costs more than a look at two texts. */
  #newest: { readonly schema: string; readonly table: string; readonly shape: TableShape | null } | null = null;

  /** undefined where that is not known yet. */
  find(event: ChangeEvent): TableShape | null | undefined {
    const { schema_name: schema, table_name: table } = event;
    if (this.#newest?.table === table && this.#newest.schema === schema) return this.#newest.shape;
    const shape = this.#shapes.get(tableName(event));
    if (shape !== undefined) this.#newest = { schema, table, shape };
    return shape;
  }

  of(event: ChangeEvent): TableShape | null {
    return this.find(event) ?? null;
  }

  set(event: ChangeEvent, shape: TableShape | null): void {
    this.#shapes.set(tableName(event), shape);
  }
}

export class BatchPlanner {
  readonly #port: ApplyPort;
  readonly #options: PlannerOptions;

  constructor(port: ApplyPort, options: PlannerOptions) {
    this.#port = port;
    this.#options = options;
  }

  /** `poisoned` names events that are known to fail; `exact` makes every change a step of its own. */
  async plan(
    transaction: ApplyTransaction,
    sources: readonly SourceTransaction[],
    poisoned: ReadonlyMap<string, Poison>,
    exact: boolean,
  ): Promise<PlannedBatch> {
    const shapes = await this.#shapes(sources);
    for (const source of sources) {
      for (const event of source.events) {
        if (shapes.of(event) !== null || !this.#isReplicated(event)) continue;
        const missing = fail('SYN-A003', `this region has no table ${tableName(event)}`);
        // The table may have been made since it was missed: then it is found behind this.
        if (!exact) throw missing;
        if (isToldAgain(event)) continue;
        if (this.#options.onError === 'stop') throw new EventFailure(event, missing);
      }
    }
    const shapeOf: ShapeOf = (event) => shapes.of(event);
    const keyOf = await keysOf(transaction, sources, shapeOf);
    const left =
      poisoned.size === 0 ? sources : sources.map((source) => withoutPoison(source, shapeOf, keyOf, poisoned));
    const steps = planBatch(left, shapeOf, keyOf, exact);
    return { steps, quarantine: exact ? this.#setAside(sources, shapes, keyOf, poisoned) : [] };
  }

  /** The steps of what was applied before, as far as its tables are still here. */
  async replan(transaction: ApplyTransaction, sources: readonly SourceTransaction[]): Promise<Step[]> {
    const shapes = await this.#shapes(sources);
    const shapeOf: ShapeOf = (event) => shapes.of(event);
    return planBatch(sources, shapeOf, await keysOf(transaction, sources, shapeOf), false);
  }

  async #shapes(sources: readonly SourceTransaction[]): Promise<Shapes> {
    const shapes = new Shapes();
    for (const { events } of sources) {
      for (const event of events) {
        if (shapes.find(event) !== undefined) continue;
        const shape = this.#isReplicated(event) ? this.#port.shape(event.schema_name, event.table_name) : null;
        shapes.set(event, await shape);
      }
    }
    return shapes;
  }

  #setAside(
    sources: readonly SourceTransaction[],
    shapes: Shapes,
    keyOf: KeyOf,
    poisoned: ReadonlyMap<string, Poison>,
  ): QuarantineEntry[] {
    const quarantine: QuarantineEntry[] = [];
    for (const { events } of sources) {
      const later = new LaterEvents();
      for (const event of [...events].reverse()) {
        if (!this.#isReplicated(event)) continue;
        const shape = shapes.of(event);
        if (shape === null && isToldAgain(event)) continue;
        const poison = poisoned.get(event.event_id) ?? (shape === null ? MISSING_TABLE : undefined);
        const former = shape === null ? null : movedFrom(shape, event, keyOf);
        const hasRow =
          shape !== null && event.operation !== 'TRUNCATE' && !(poison?.isWhole === true && former !== null);
        const key = hasRow ? keyOf(shape, currentKey(shape, event)) : EVERY_ROW;
        if (poison === undefined) {
          if (shape === null || this.#options.isMerging(shape)) continue;
          later.add(shape, key, event.after_image);
          if (former !== null) later.add(shape, keyOf(shape, former), null);
        } else if (shape === null || !later.makeVoid(shape, key, event)) {
          const hasLeft = former !== null && !poison.isWhole;
          quarantine.push(toQuarantine(hasLeft ? { ...event, left_key: true } : event, key, poison));
        }
      }
    }
    return quarantine.reverse();
  }

  #isReplicated({ schema_name, table_name }: ChangeEvent): boolean {
    return this.#options.isReplicated(schema_name, table_name);
  }
}

/** The rows that later events of a transaction wrote or removed: what came before them there decides nothing any more. */
class LaterEvents {
  /** By table and row, what the last of them left; null for nothing. */
  readonly #rows = new Map<string, Map<RowKey, Image | null>>();

  /** The last of a transaction first. */
  add({ id }: TableShape, key: RowKey, image: Image | null): void {
    const rows = this.#rows.get(id) ?? new Map<RowKey, Image | null>();
    this.#rows.set(id, rows);
    if (!rows.has(key)) rows.set(key, image);
  }

  /** A later image may lack columns that did not change: where the earlier one holds them, and nothing else here does, it stays. */
  makeVoid({ id }: TableShape, key: RowKey, { after_image }: ChangeEvent): boolean {
    const rows = this.#rows.get(id);
    if (rows?.has(EVERY_ROW) === true) return true;
    const left = key === EVERY_ROW ? undefined : rows?.get(key);
    if (left === undefined || left === null) return left === null;
    return Object.keys(after_image ?? {}).every((column) => left[column] !== undefined);
  }
}

/** The key that the event's row leaves for another one; null where it leaves none. */
function movedFrom(shape: TableShape, event: ChangeEvent, keyOf: KeyOf): Image | null {
  const former = formerKey(shape, event);
  return former === null || keyOf(shape, former) === keyOf(shape, currentKey(shape, event)) ? null : former;
}

/** What is left of a transaction: of a change of key, unless it is set aside whole, that the row leaves its old key. */
function withoutPoison(
  source: SourceTransaction,
  shapeOf: ShapeOf,
  keyOf: KeyOf,
  poisoned: ReadonlyMap<string, Poison>,
): SourceTransaction {
  const events = source.events.flatMap((event): ChangeEvent[] => {
    const poison = poisoned.get(event.event_id);
    if (poison === undefined) return [event];
    const shape = shapeOf(event);
    const former = poison.isWhole || shape === null ? null : movedFrom(shape, event, keyOf);
    return former === null ? [] : [{ ...event, operation: 'DELETE', row_pk: former, after_image: null }];
  });
  return { ...source, events };
}

/** Rows are told among those who have the table; whoever gets it later is told them all then. */
function isToldAgain({ claim }: ChangeEvent): boolean {
  return claim !== undefined;
}

function tableName({ schema_name, table_name }: ChangeEvent): string {
  return `${schema_name}.${table_name}`;
}

async function keysOf(
  transaction: ApplyTransaction,
  sources: readonly SourceTransaction[],
  shapeOf: ShapeOf,
): Promise<KeyOf> {
  const asked = new Map<TableShape, Map<string, Image>>();
  for (const source of sources) {
    for (const event of source.events) {
      const shape = event.operation === 'TRUNCATE' ? null : shapeOf(event);
      if (shape === null || !shape.keyNeedsDatabase) continue;
      const pks = asked.get(shape) ?? new Map<string, Image>();
      asked.set(shape, pks);
      const former = formerKey(shape, event);
      for (const pk of former === null ? [currentKey(shape, event)] : [currentKey(shape, event), former]) {
        pks.set(rowKey(shape, pk), pk);
      }
    }
  }
  const canonical = new Map<TableShape, Map<string, RowKey>>();
  for (const [shape, pks] of asked) {
    const keys = await transaction.canonicalKeys(shape, [...pks.values()]);
    canonical.set(shape, new Map([...pks.keys()].map((text, place) => [text, keys[place] ?? text])));
  }
  return (shape, pk) => {
    const text = rowKey(shape, pk);
    return shape.keyNeedsDatabase ? (canonical.get(shape)?.get(text) ?? text) : text;
  };
}
