// Decodes the payload of one XLogData frame into one message.
//
// This is the hot path of capture, so it makes one object per message, one array per tuple and one
// string per value, and nothing else: no slices, no wrappers, no field lookups by name. Short ASCII
// values, which most keys and numbers are, become strings without leaving JavaScript.
//
// Everything that is returned is a copy: the bytes may be overwritten once decode() has returned.
//
// The decoder trusts no length. A payload that ends early, goes on after its end, or names a tag
// that was not asked for (streaming and two-phase messages need options that capture never sets) is
// a typed error, because guessing would publish a wrong row. The one obvious shortcut, to skip a
// message that is not understood, would drop a change silently.
//
// The server sends a relation once, and again after its definition changed; it never repeats one
// because the client forgot it. So the cache evicts nothing and is as large as the set of published
// tables that this connection saw, which is also what the server itself keeps for it.

import { constants } from 'node:buffer';
import { fail, type SynclineError } from '../../platform/errors.ts';
import {
  type LogicalMessage,
  type PgoutputMessage,
  type RelationColumn,
  type RelationMessage,
  type ReplicaIdentity,
  type TruncateMessage,
  type TupleColumn,
  UNCHANGED_TOAST,
} from './pgoutput-messages.ts';

/** Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01. */
export const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;

// Up to this length, building a string from its char codes is faster than a call into the engine's
// UTF-8 decoder (30 ns against 100 ns). From 13 characters on, joining would make ropes, which take
// more memory than the value itself and are flattened later.
const SHORT_STRING_BYTES_MAX = 8;

const TAG = {
  begin: 0x42, // B
  commit: 0x43, // C
  delete: 0x44, // D
  insert: 0x49, // I
  message: 0x4d, // M
  origin: 0x4f, // O
  relation: 0x52, // R
  truncate: 0x54, // T
  update: 0x55, // U
  type: 0x59, // Y
} as const;

const TUPLE = { key: 0x4b, old: 0x4f, new: 0x4e } as const; // K O N
const COLUMN = { null: 0x6e, unchanged: 0x75, text: 0x74 } as const; // n u t

const IDENTITIES: ReadonlyMap<number, ReplicaIdentity> = new Map([
  [0x64, 'd'],
  [0x6e, 'n'],
  [0x66, 'f'],
  [0x69, 'i'],
]);

const EMPTY = Buffer.alloc(0);

export class PgoutputDecoder {
  #bytes: Buffer = EMPTY;
  #at = 0;
  #end = 0;
  readonly #relations = new Map<number, RelationMessage>();

  /** The relation as it was sent last, or undefined if this connection never sent it. */
  relation(oid: number): RelationMessage | undefined {
    return this.#relations.get(oid);
  }

  /** Decodes the bytes from start to end, which are exactly one message. */
  decode(bytes: Buffer, start = 0, end = bytes.length): PgoutputMessage {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    try {
      const message = this.#message();
      if (this.#at !== end) throw malformed(`${end - this.#at} bytes follow the end of a ${message.kind} message`);
      return message;
    } finally {
      // The last payload must not be kept alive until the next one comes.
      this.#bytes = EMPTY;
    }
  }

  #message(): PgoutputMessage {
    const tag = this.#byte();
    switch (tag) {
      case TAG.insert: {
        const relation = this.#knownRelation(this.#uint32());
        this.#expectTuple(TUPLE.new);
        return { kind: 'insert', relationOid: relation.oid, relation, new: this.#tuple(relation) };
      }
      case TAG.update:
        return this.#update();
      case TAG.delete:
        return this.#delete();
      case TAG.begin:
        return { kind: 'begin', finalLsn: this.#uint64(), commitTimeMicros: this.#time(), xid: this.#uint32() };
      case TAG.commit:
        return {
          kind: 'commit',
          flags: this.#byte(),
          commitLsn: this.#uint64(),
          endLsn: this.#uint64(),
          commitTimeMicros: this.#time(),
        };
      case TAG.relation:
        return this.#relation();
      case TAG.type:
        return { kind: 'type', oid: this.#uint32(), schema: this.#schema(), name: this.#cString() };
      case TAG.origin:
        return { kind: 'origin', commitLsn: this.#uint64(), name: this.#cString() };
      case TAG.truncate:
        return this.#truncate();
      case TAG.message:
        return this.#logicalMessage();
      default:
        throw malformed(`unknown message tag 0x${tag.toString(16).padStart(2, '0')}`);
    }
  }

  #update(): PgoutputMessage {
    const relation = this.#knownRelation(this.#uint32());
    let key: TupleColumn[] | undefined;
    let old: TupleColumn[] | undefined;
    let tag = this.#byte();
    if (tag === TUPLE.key) {
      key = this.#tuple(relation);
      tag = this.#byte();
    } else if (tag === TUPLE.old) {
      old = this.#tuple(relation);
      tag = this.#byte();
    }
    if (tag !== TUPLE.new) throw malformed(`an update has a tuple of the unknown sort ${tag}`);
    return { kind: 'update', relationOid: relation.oid, relation, key, old, new: this.#tuple(relation) };
  }

  #delete(): PgoutputMessage {
    const relation = this.#knownRelation(this.#uint32());
    const tag = this.#byte();
    if (tag !== TUPLE.key && tag !== TUPLE.old) throw malformed(`a delete has a tuple of the unknown sort ${tag}`);
    const tuple = this.#tuple(relation);
    const isKey = tag === TUPLE.key;
    return {
      kind: 'delete',
      relationOid: relation.oid,
      relation,
      key: isKey ? tuple : undefined,
      old: isKey ? undefined : tuple,
    };
  }

  #relation(): RelationMessage {
    const oid = this.#uint32();
    const schema = this.#schema();
    const table = this.#cString();
    const identityCode = this.#byte();
    const replicaIdentity = IDENTITIES.get(identityCode);
    if (replicaIdentity === undefined) throw malformed(`unknown replica identity ${identityCode}`);
    const count = this.#uint16();
    const columns: RelationColumn[] = [];
    for (let i = 0; i < count; i += 1) {
      const flags = this.#byte();
      columns.push({
        name: this.#cString(),
        typeOid: this.#uint32(),
        typeModifier: this.#uint32() | 0,
        key: (flags & 1) !== 0,
      });
    }
    const relation: RelationMessage = { kind: 'relation', oid, schema, table, replicaIdentity, columns };
    this.#relations.set(oid, relation);
    return relation;
  }

  #truncate(): TruncateMessage {
    const count = this.#uint32();
    const options = this.#byte();
    const relations: RelationMessage[] = [];
    // The count is not trusted: each oid is read, and reading past the end throws.
    for (let i = 0; i < count; i += 1) relations.push(this.#knownRelation(this.#uint32()));
    return {
      kind: 'truncate',
      relationOids: relations.map((relation) => relation.oid),
      relations,
      cascade: (options & 1) !== 0,
      restartIdentity: (options & 2) !== 0,
    };
  }

  #logicalMessage(): LogicalMessage {
    const flags = this.#byte();
    const lsn = this.#uint64();
    const prefix = this.#cString();
    const length = this.#uint32();
    const from = this.#take(length);
    const content = Buffer.from(this.#bytes.subarray(from, from + length));
    return { kind: 'message', transactional: (flags & 1) !== 0, lsn, prefix, content };
  }

  #knownRelation(oid: number): RelationMessage {
    const relation = this.#relations.get(oid);
    if (relation === undefined) throw malformed(`a message names relation ${oid}, which was never described`);
    return relation;
  }

  #expectTuple(expected: number): void {
    const tag = this.#byte();
    if (tag !== expected) throw malformed(`an insert has a tuple of the unknown sort ${tag}`);
  }

  #tuple(relation: RelationMessage): TupleColumn[] {
    const count = this.#uint16();
    if (count !== relation.columns.length) {
      throw malformed(
        `a row of ${relation.schema}.${relation.table} has ${count} columns instead of ${relation.columns.length}`,
      );
    }
    const tuple: TupleColumn[] = [];
    for (let i = 0; i < count; i += 1) {
      const format = this.#byte();
      if (format === COLUMN.text) {
        const length = this.#uint32();
        const from = this.#take(length);
        tuple.push(this.#string(from, length));
      } else if (format === COLUMN.null) {
        tuple.push(null);
      } else if (format === COLUMN.unchanged) {
        tuple.push(UNCHANGED_TOAST);
      } else {
        throw malformed(`a column has the unknown format ${format}`);
      }
    }
    return tuple;
  }

  #string(from: number, length: number): string {
    if (length <= SHORT_STRING_BYTES_MAX) {
      const text = shortAsciiString(this.#bytes, from, length);
      if (text !== undefined) return text;
    }
    if (length > constants.MAX_STRING_LENGTH) {
      throw fail('SYN-K007', `a value of ${length} bytes is longer than any string can be`, {
        context: { bytes: length },
      });
    }
    return this.#bytes.toString('utf8', from, from + length);
  }

  /** pgoutput sends the schema pg_catalog as the empty string. */
  #schema(): string {
    const schema = this.#cString();
    return schema === '' ? 'pg_catalog' : schema;
  }

  #cString(): string {
    const from = this.#at;
    const to = this.#bytes.indexOf(0, from);
    if (to < 0 || to >= this.#end) throw malformed('a name has no end');
    this.#at = to + 1;
    return this.#bytes.toString('utf8', from, to);
  }

  #time(): bigint {
    return this.#int64() + POSTGRES_EPOCH_MICROS;
  }

  #byte(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  #uint16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  #uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  #uint64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  #int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  /** Moves past the bytes and returns where they begin. */
  #take(count: number): number {
    const from = this.#at;
    const to = from + count;
    if (to > this.#end) throw malformed(`it ends ${to - this.#end} bytes too early`);
    this.#at = to;
    return from;
  }
}

/** The bytes as a string, or undefined where one of them is not ASCII. */
function shortAsciiString(bytes: Buffer, from: number, length: number): string | undefined {
  const to = from + length;
  let bits = 0;
  for (let at = from; at < to; at += 1) bits |= bytes[at] as number;
  if (bits > 0x7f) return undefined;
  let text = '';
  let at = from;
  for (; at + 4 <= to; at += 4) {
    text += String.fromCharCode(
      bytes[at] as number,
      bytes[at + 1] as number,
      bytes[at + 2] as number,
      bytes[at + 3] as number,
    );
  }
  for (; at < to; at += 1) text += String.fromCharCode(bytes[at] as number);
  return text;
}

function malformed(what: string): SynclineError {
  return fail('SYN-K006', `pgoutput message is malformed: ${what}`);
}
