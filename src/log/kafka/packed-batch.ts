/**
 * Kafka's record batch, version 2, as it is read; kafka-batch.ts writes them.
 *
 * A broker sends whole batches, many at a time. The client's own reader makes objects of all of them before it gives
 * any out, two buffers for each header among them: some hundred thousand that live until the last record is taken, which costs more
 * than all the rest of reading. Here a batch stays as it came until its records are asked for; they are given out one by one, and
 * of their headers only those become text that somebody asks for.
 */
import { compressionsAlgorithmsByBitmask, crc32c, IS_COMPRESSED, IS_CONTROL } from '@platformatic/kafka';
import { fail } from '../../platform/errors.ts';
import { ATTRIBUTES_AT, BATCH_HEAD_BYTES, CRC_AT, LEADER_EPOCH_AT, LENGTH_AT } from './kafka-batch.ts';

/** Where fields of a batch's head stand. */
const LAST_DELTA_AT = 23;
const MAX_TIMESTAMP_AT = 35;
const COUNT_AT = 57;

export class PackedBatch {
  readonly #bytes: Buffer;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The batches of an answer, the last of which may be cut off and is left out then. They keep the bytes. */
  static allIn(bytes: Buffer): PackedBatch[] {
    const batches: PackedBatch[] = [];
    for (let at = 0; at + BATCH_HEAD_BYTES <= bytes.length; ) {
      // What stands before the leader's epoch is not counted.
      const end = at + LEADER_EPOCH_AT + bytes.readInt32BE(at + LENGTH_AT);
      if (end > bytes.length) break;
      if (end < at + BATCH_HEAD_BYTES) throw damaged('its length is less than its head');
      batches.push(new PackedBatch(bytes.subarray(at, end)));
      at = end;
    }
    return batches;
  }

  /** Where what follows on it stands. */
  get next(): number {
    return this.#base + this.#bytes.readInt32BE(LAST_DELTA_AT) + 1;
  }

  /** Of the leader that wrote it. */
  get epoch(): number {
    return this.#bytes.readInt32BE(LEADER_EPOCH_AT);
  }

  get maxTimestampMs(): number {
    return Number(this.#bytes.readBigInt64BE(MAX_TIMESTAMP_AT));
  }

  /** How many records it has, as it tells without being unpacked. */
  get count(): number {
    return this.#bytes.readInt32BE(COUNT_AT);
  }

  get bytes(): number {
    return this.#bytes.length;
  }

  /** A marker of Kafka's own, such as the end of a transaction, is none. Throws SYN-L006 for what is damaged. */
  *records(): Generator<BatchRecord> {
    if (crc32c(this.#bytes.subarray(ATTRIBUTES_AT)) !== this.#bytes.readUInt32BE(CRC_AT)) {
      throw damaged('its checksum is of other bytes');
    }
    const attributes = this.#bytes.readInt16BE(ATTRIBUTES_AT);
    if ((attributes & IS_CONTROL) !== 0) return;
    const plain = decompressed(attributes & IS_COMPRESSED, this.#bytes.subarray(BATCH_HEAD_BYTES));
    const base = this.#base;
    const cursor = new Cursor(plain);
    for (let place = 0; place < this.count; place += 1) {
      const length = cursor.varint();
      const record = new BatchRecord(plain, cursor.at, base);
      cursor.skip(length);
      yield record;
    }
  }

  get #base(): number {
    return Number(this.#bytes.readBigInt64BE(0));
  }
}

/** One record, which stays within its batch's bytes. */
export class BatchRecord {
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly #bytes: Buffer;
  readonly #headersAt: number;

  /** A record begins behind its length. */
  constructor(bytes: Buffer, start: number, base: number) {
    const cursor = new Cursor(bytes, start);
    // Attributes, of which there are none.
    cursor.skip(1);
    cursor.skipVarint();
    this.offset = base + cursor.varint();
    this.key = cursor.bytes();
    this.value = cursor.bytes();
    this.#bytes = bytes;
    this.#headersAt = cursor.at;
  }

  /** The texts of the headers with these names, in their order; names and texts are of one byte a character. */
  texts(names: readonly Buffer[]): (string | undefined)[] {
    const found: (string | undefined)[] = names.map(() => undefined);
    const cursor = new Cursor(this.#bytes, this.#headersAt);
    for (let left = cursor.varint(); left > 0; left -= 1) {
      const nameLength = cursor.varint();
      const nameAt = cursor.at;
      cursor.skip(nameLength);
      const length = cursor.varint();
      const place = names.findIndex((name) => this.#isAt(name, nameAt, nameLength));
      if (place >= 0) found[place] = this.#bytes.toString('latin1', cursor.at, cursor.at + Math.max(0, length));
      cursor.skip(length);
    }
    return found;
  }

  #isAt(name: Buffer, at: number, length: number): boolean {
    if (name.length !== length) return false;
    for (let place = 0; place < length; place += 1) if (this.#bytes[at + place] !== name[place]) return false;
    return true;
  }
}

/** Reads on within bytes; a place behind their end is a damaged batch. */
class Cursor {
  at: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** A number that is written as its zigzag, seven bits at a time, the lowest first. */
  varint(): number {
    let zigzag = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) throw damaged('it ends amid a number');
      this.at += 1;
      zigzag += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
  }

  /** A number that nobody asks for, and that may be of any size. */
  skipVarint(): void {
    while ((this.#bytes[this.at] ?? 0) >= 0x80) this.at += 1;
    this.skip(1);
  }

  /** Nothing has a length of -1. */
  skip(length: number): void {
    this.at += Math.max(0, length);
    if (this.at > this.#bytes.length) throw damaged('it ends amid a record');
  }

  bytes(): Buffer | null {
    const length = this.varint();
    const start = this.at;
    this.skip(length);
    return length < 0 ? null : this.#bytes.subarray(start, this.at);
  }
}

function decompressed(mask: number, packed: Buffer): Buffer {
  if (mask === 0) return packed;
  const algorithm = compressionsAlgorithmsByBitmask[mask];
  if (algorithm === undefined) throw damaged(`its compression ${mask} is unknown`);
  try {
    return algorithm.decompressSync(packed);
  } catch (cause) {
    throw damaged('it cannot be decompressed', cause);
  }
}

const damaged = (how: string, cause?: unknown): Error =>
  fail('SYN-L006', `a batch of records from Kafka cannot be read: ${how}`, { cause });
