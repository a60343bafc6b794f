/**
 * Turns the messages of pgoutput into transactions for the sink.
 *
 * Dropped is what apply wrote here itself. Other tools' origins are local writes to us: nobody else would replicate them.
 *
 * An unchanged TOAST value is not in the new tuple. With full identity it is filled in from the old one; else its column
 * is left out of the image, which says "not sent" and never NULL.
 *
 * The key comes from the catalog, since full identity flags every column. The catalog is that of now and the row may be
 * older, so a table that is gone, or whose key has columns that the row lacks, falls back to what the row's own identity
 * says. A table that exists without a key stops capture before the row is confirmed. The server describes a table again
 * after every change of its definition, and with each description the key is asked for anew.
 *
 * The server sends what was published when it was written. What the configuration no longer names is left out here, or a table that stops
 * capture would go on to do so after it was excluded: its rows stay in the slot until capture has passed them.
 *
 * A partition may have less than its root's full identity (it was just created): its old tuple comes as if it were whole,
 * with NULL in all columns but the key's. Such a tuple is taken for the key alone.
 *
 * An identity by another index than the key's says nothing of a changed key, nor which row was deleted: such a change stops
 * capture too. Of a partition with such an identity the server tells beside its root.
 */
import type { Image } from '../../change/change-event.ts';
import type { KeyNature } from '../../change/key-nature.ts';
import { lsnToText } from '../../change/position.ts';
import { CLAIM_PREFIX } from '../../change/table-transfer.ts';
import { unreachable } from '../../platform/assert.ts';
import { fail } from '../../platform/errors.ts';
import type { AppliedWork } from '../stream/applied-work.ts';
import {
  type BeginMessage,
  type CommitMessage,
  type LogicalMessage,
  type OversizedMessage,
  type PgoutputMessage,
  type RelationMessage,
  type TruncateMessage,
  type TupleColumn,
  UNCHANGED_TOAST,
} from '../stream/pgoutput-messages.ts';
import type { CatalogTable } from '../tables/table-catalog.ts';
import { parseClaimMessage } from './claim-message.ts';
import type { HeartbeatMessage, RowChange, TransactionSink } from './decoded-transaction.ts';
import { OPERATOR_PREFIX, parseOperatorMessage } from './operator-message.ts';

export const HEARTBEAT_PREFIX = 'syncline.heartbeat';

export type AssemblerOptions = {
  readonly sink: TransactionSink;
  /** Knows what is dropped. */
  readonly applied: AppliedWork;
  /** What decisions of operators have to know; null where none can be made. */
  readonly decisionSecret: string | null;
  /** The table as the catalog has it now; null where it is gone. */
  readonly lookUp: (relation: RelationMessage) => Promise<FoundTable | 'excluded' | null>;
};

type FoundTable = Pick<CatalogTable, 'key' | 'kind' | 'ancestors'>;

/** A relation, as it was described; `shape` is null where its rows are left out. */
type Described = { readonly relation: RelationMessage; readonly shape: RowShape | null };

/** How rows of a relation become changes. */
type RowShape = {
  readonly relation: RelationMessage;
  readonly names: readonly string[];
  readonly key: readonly string[];
  readonly looseKey: boolean;
  /** Of the key's columns. */
  readonly natures: readonly (KeyNature | null)[];
  readonly isPartitioned: boolean;
  /** Places of the columns that a key-only old tuple may hold. */
  readonly identity: readonly number[];
  /** The table, or a partition of it, by whose identity the row cannot be told that an UPDATE or DELETE is of. */
  readonly blind: string | null;
};

type RowMessage = Extract<PgoutputMessage, { readonly kind: 'insert' | 'update' | 'delete' }>;

export class TransactionAssembler {
  readonly #options: AssemblerOptions;
  readonly #known = new Map<number, Described>();
  /** Described with the identity of an index that may not be the key's. */
  readonly #byIndex = new Map<number, RelationMessage>();
  /** Those that had changes of their own: rows of a partition come as its root's. */
  readonly #ownRows = new Set<number>();
  #begin: BeginMessage | null = null;

  constructor(options: AssemblerOptions) {
    this.#options = options;
  }

  /** Takes the next message; where a promise comes back, the one after it waits for that. */
  accept(message: PgoutputMessage): void | Promise<void> {
    this.#options.applied.next(message);
    switch (message.kind) {
      case 'insert':
      case 'update':
      case 'delete':
        return this.#row(message);
      case 'oversized':
        return this.#oversized(message);
      case 'begin':
        if (this.#begin !== null) throw outOfPlace(message);
        this.#begin = message;
        return this.#options.sink.begin({
          xid: message.xid,
          lsn: message.finalLsn,
          commitMicros: message.commitTimeMicros,
        });
      case 'commit':
        return this.#commit(message);
      case 'origin':
        if (!this.#isOurs) this.#options.sink.foreignOrigin();
        return undefined;
      case 'relation':
        this.#described(message);
        return undefined;
      case 'truncate':
        return this.#truncate(message);
      case 'message':
        return this.#logicalMessage(message);
      case 'type':
        return undefined;
      default:
        return unreachable(message);
    }
  }

  get #isOurs(): boolean {
    return this.#options.applied.isUnderWay;
  }

  #row(message: RowMessage): void | Promise<void> {
    if (this.#begin === null) throw outOfPlace(message);
    if (this.#isOurs) return undefined;
    const known = this.#known.get(message.relationOid);
    if (known?.relation === message.relation) return this.#change(message, known.shape);
    return this.#describe(message.relation).then((shape) => this.#change(message, shape));
  }

  #change(message: RowMessage, shape: RowShape | null): void | Promise<void> {
    return shape === null ? undefined : this.#options.sink.change(toChange(message, shape));
  }

  async #oversized(message: OversizedMessage): Promise<void> {
    if (this.#begin === null) throw outOfPlace(message);
    if (this.#isOurs || (await this.#describe(message.relation)) === null) return;
    const { relation, frameBytes } = message;
    const table = `${relation.schema}.${relation.table}`;
    const detail = `a change of a row of ${table} takes ${frameBytes} bytes, more than can be taken in`;
    throw fail('SYN-K007', detail, { context: { table, bytes: frameBytes } });
  }

  #commit(message: CommitMessage): Promise<void> {
    if (this.#begin === null || this.#begin.finalLsn !== message.commitLsn) throw outOfPlace(message);
    this.#begin = null;
    return this.#options.sink.commit(message.endLsn);
  }

  async #truncate(message: TruncateMessage): Promise<void> {
    if (this.#begin === null) throw outOfPlace(message);
    if (this.#isOurs) return;
    for (const relation of message.relations) {
      const { schema, table } = relation;
      const shape = await this.#describe(relation);
      if (shape === null) continue;
      const { key } = shape;
      await this.#options.sink.change({ schema, table, operation: 'TRUNCATE', key, before: null, after: null });
    }
  }

  #logicalMessage({ transactional, prefix, content, ...message }: LogicalMessage): void | Promise<void> {
    if (!transactional || this.#isOurs) return undefined;
    if (prefix !== HEARTBEAT_PREFIX && prefix !== OPERATOR_PREFIX && prefix !== CLAIM_PREFIX) return undefined;
    if (this.#begin === null) throw outOfPlace(message);
    if (prefix !== HEARTBEAT_PREFIX) {
      const parse = prefix === OPERATOR_PREFIX ? parseOperatorMessage : parseClaimMessage;
      const change = parse(content, this.#options.decisionSecret);
      return change === null ? undefined : this.#options.sink.change(change);
    }
    const heartbeat = parseHeartbeatMessage(content);
    if (heartbeat !== null) this.#options.sink.heartbeat(heartbeat);
    return undefined;
  }

  #described(relation: RelationMessage): void {
    const { oid, replicaIdentity } = relation;
    this.#known.delete(oid);
    if (replicaIdentity !== 'i' && !this.#byIndex.has(oid)) return;
    // It may be a partition, and its root is described already.
    for (const [root, { shape }] of this.#known) if (shape?.isPartitioned === true) this.#known.delete(root);
    if (replicaIdentity === 'i') this.#byIndex.set(oid, relation);
    else this.#byIndex.delete(oid);
  }

  async #describe(relation: RelationMessage): Promise<RowShape | null> {
    const known = this.#known.get(relation.oid);
    if (known?.relation === relation) return known.shape;
    this.#ownRows.add(relation.oid);
    const found = await this.#options.lookUp(relation);
    if (found !== null && found !== 'excluded' && found.key === null) {
      const table = `${relation.schema}.${relation.table}`;
      throw fail('SYN-K008', `${table} has no primary key any more`, { context: { table } });
    }
    const shape = found === 'excluded' ? null : await this.#shapeOf(relation, found);
    this.#known.set(relation.oid, { relation, shape });
    return shape;
  }

  async #shapeOf(relation: RelationMessage, found: FoundTable | null): Promise<RowShape> {
    const shape = shapeOf(relation, found);
    const blind = await this.#blindOf(shape);
    return blind === null ? shape : { ...shape, blind };
  }

  async #blindOf({ relation, key, isPartitioned }: RowShape): Promise<string | null> {
    for (const each of this.#byIndex.values()) {
      const flagged = each.columns.filter((column) => column.key).map(({ name }) => name);
      if (key.every((column) => flagged.includes(column))) continue;
      const isOther = each.oid !== relation.oid;
      if (isOther && (!isPartitioned || this.#ownRows.has(each.oid))) continue;
      const isOfIt = !isOther || (await this.#isBelow(each, relation));
      if (isOfIt) return `${each.schema}.${each.table}`;
    }
    return null;
  }

  /** One that is gone since may have been a partition of it. */
  async #isBelow(leaf: RelationMessage, { schema, table }: RelationMessage): Promise<boolean> {
    const found = await this.#options.lookUp(leaf);
    if (found === 'excluded') return false;
    return found === null || found.ancestors.some((each) => each.schema === schema && each.table === table);
  }
}

function shapeOf(relation: RelationMessage, found: FoundTable | null): RowShape {
  const names = relation.columns.map(({ name }) => name);
  const columns = found?.key?.map(({ name }) => name) ?? [];
  const isKnown = columns.length > 0 && columns.every((column) => names.includes(column));
  const natures = found?.key?.map(({ nature }) => nature) ?? [];
  const flagged = relation.columns.filter((column) => column.key).map(({ name }) => name);
  const key = isKnown ? columns : flagged;
  // Of a table with full identity, a leaf's old tuple may still hold the key alone.
  const identity = relation.replicaIdentity === 'f' ? key : flagged;
  return {
    relation,
    names,
    key,
    looseKey: !isKnown || !natures.every((nature) => nature === 'text'),
    natures: isKnown ? natures : [],
    isPartitioned: found?.kind === 'p',
    identity: identity.map((column) => names.indexOf(column)),
    blind: null,
  };
}

function toChange(message: RowMessage, shape: RowShape): RowChange {
  const { schema, table } = shape.relation;
  const { key, natures } = shape;
  const [operation, before, after] = imagesOf(message, shape);
  return shape.looseKey
    ? { schema, table, operation, key, looseKey: true, natures, before, after }
    : { schema, table, operation, key, before, after };
}

function imagesOf(message: RowMessage, shape: RowShape): readonly [RowChange['operation'], Image | null, Image | null] {
  if (message.kind === 'insert') return ['INSERT', null, imageOf(shape, message.new, null)];
  let before: Image | null = null;
  let old: readonly TupleColumn[] | null = null;
  if (
    message.key !== undefined ||
    (message.old !== undefined && shape.isPartitioned && isKeyOnly(shape, message.old))
  ) {
    before = keyImageOf(shape, message.key ?? message.old ?? []);
  } else if (message.old !== undefined) {
    old = message.old;
    before = imageOf(shape, old, null);
  }
  checkIdentity(shape, before);
  return message.kind === 'delete' ? ['DELETE', before, null] : ['UPDATE', before, imageOf(shape, message.new, old)];
}

/** Throws SYN-K008 where an UPDATE or DELETE does not tell which row it is of. */
function checkIdentity({ relation, key, natures, isPartitioned, blind }: RowShape, before: Image | null): void {
  // Any other identity holds all of the key; and of a table that is gone every column stands
  // for the key, and may be NULL.
  if ((blind === null && !isPartitioned) || natures.length === 0) return;
  const isTold = before !== null && key.every((column) => before[column] !== null);
  if (blind === null ? before === null || isTold : isPartitioned && isTold) return;
  const table = `${relation.schema}.${relation.table}`;
  const detail = `the replica identity of ${blind ?? `a partition of ${table}`} lacks columns of the key, so a changed row cannot be told`;
  throw fail('SYN-K008', detail, { context: { table } });
}

/** Column by column; what is unchanged comes from the old tuple if that is whole, and is left out if not. */
function imageOf({ names }: RowShape, tuple: readonly TupleColumn[], old: readonly TupleColumn[] | null): Image {
  const image: { [column: string]: string | null } = {};
  for (let place = 0; place < names.length; place += 1) {
    let value = tuple[place];
    // A value that has a TOAST pointer is not NULL, so an old tuple that says so does not hold it.
    if (value === UNCHANGED_TOAST) value = old?.[place] ?? undefined;
    if (value !== undefined && value !== UNCHANGED_TOAST) put(image, names[place] ?? '', value);
  }
  return image;
}

function keyImageOf({ names, identity }: RowShape, tuple: readonly TupleColumn[]): Image {
  const image: { [column: string]: string | null } = {};
  for (const place of identity) {
    const value = tuple[place];
    if (value !== undefined && value !== UNCHANGED_TOAST) put(image, names[place] ?? '', value);
  }
  return image;
}

/** Assigning to a column of that name would set the object's prototype, and the value would be lost. */
function put(image: { [column: string]: string | null }, column: string, value: string | null): void {
  if (column !== '__proto__') image[column] = value;
  else Object.defineProperty(image, column, { value, enumerable: true, configurable: true, writable: true });
}

function isKeyOnly({ identity, names }: RowShape, tuple: readonly TupleColumn[]): boolean {
  if (identity.length === names.length) return false;
  return tuple.every((value, place) => value === null || identity.includes(place));
}

/** Null where the content is not a heartbeat of ours: anybody may emit a message of any prefix. */
function parseHeartbeatMessage(content: Buffer): HeartbeatMessage | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content.toString('utf8'));
  } catch {
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null || !('members' in parsed)) return null;
  const { members } = parsed;
  if (!Array.isArray(members) || !members.every((member) => typeof member === 'string')) return null;
  const delays_ms: { [region: string]: number } = {};
  const delays: unknown = 'delays_ms' in parsed ? parsed.delays_ms : null;
  if (typeof delays === 'object' && delays !== null) {
    for (const [region, delay] of Object.entries(delays)) if (typeof delay === 'number') delays_ms[region] = delay;
  }
  const says = (name: string): boolean => name in parsed && Reflect.get(parsed, name) === true;
  return { members, delays_ms, merges: says('merges'), claims: says('claims') };
}

function outOfPlace(message: Pick<PgoutputMessage, 'kind'> | CommitMessage): Error {
  const where = 'commitLsn' in message ? ` at ${lsnToText(message.commitLsn)}` : '';
  return fail('SYN-K006', `a message of the kind ${message.kind} is out of place${where}`);
}
