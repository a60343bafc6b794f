/**
 * Kafka's record batch, version 2, as it is written; packed-batch.ts reads them. The client's own encoder makes a buffer per
 * field and takes about 15 µs per record, which is more than all the rest of publishing one.
 *
 * A record's body, all that follows its place in the batch, is made once. All records of a batch carry the batch's time.
 */
import { compressionsAlgorithms, crc32c } from '@platformatic/kafka';
import type { KafkaCompression } from './kafka-settings.ts';

export type BatchSource = {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  /** Sequence of the first record; -1 where the producer is not idempotent. */
  readonly sequence: number;
  readonly timestampMs: number;
  readonly compression: KafkaCompression;
};

/** From the batch's first byte to its records. */
export const BATCH_HEAD_BYTES = 61;
/** The most that a record takes beyond its body: length, attributes, time and place. */
export const RECORD_HEAD_BYTES_MAX = 12;
export const LENGTH_AT = 8;
export const LEADER_EPOCH_AT = 12;
const MAGIC_AT = 16;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;

export type Header = readonly [name: string, value: string];

/** Key, value and headers of a record. Header names are ASCII. */
export function recordBody(key: string, value: Buffer, headers: readonly Header[]): Buffer {
  const keyBytes = Buffer.byteLength(key);
  let size = varintSize(keyBytes) + keyBytes + varintSize(value.length) + value.length + varintSize(headers.length);
  for (const [name, text] of headers) {
    const bytes = Buffer.byteLength(text);
    size += varintSize(name.length) + name.length + varintSize(bytes) + bytes;
  }
  const body = Buffer.allocUnsafe(size);
  let at = writeVarint(body, 0, keyBytes);
  at += body.write(key, at);
  at = writeVarint(body, at, value.length);
  at += value.copy(body, at);
  at = writeVarint(body, at, headers.length);
  for (const [name, text] of headers) {
    at = writeVarint(body, at, name.length);
    at += body.write(name, at, 'latin1');
    const bytes = Buffer.byteLength(text);
    at = writeVarint(body, at, bytes);
    at += body.write(text, at);
  }
  return body;
}

export function recordBatch(bodies: readonly Buffer[], source: BatchSource): Buffer {
  const { packed, bitmask } = smallest(records(bodies), source.compression);
  const batch = Buffer.allocUnsafe(BATCH_HEAD_BYTES + packed.length);
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - LEADER_EPOCH_AT, LENGTH_AT);
  batch.writeInt32BE(-1, LEADER_EPOCH_AT);
  batch.writeInt8(2, MAGIC_AT);
  let at = batch.writeInt16BE(bitmask, ATTRIBUTES_AT);
  at = batch.writeInt32BE(bodies.length - 1, at);
  at = batch.writeBigInt64BE(BigInt(source.timestampMs), at);
  at = batch.writeBigInt64BE(BigInt(source.timestampMs), at);
  at = batch.writeBigInt64BE(source.producerId, at);
  at = batch.writeInt16BE(source.producerEpoch, at);
  at = batch.writeInt32BE(source.sequence, at);
  at = batch.writeInt32BE(bodies.length, at);
  packed.copy(batch, at);
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES_AT)), CRC_AT);
  return batch;
}

type Packed = { readonly packed: Buffer; readonly bitmask: number };

/** What does not shrink goes as it is: a topic takes a batch of the size that was planned for, and none that is larger. */
function smallest(plain: Buffer, compression: KafkaCompression): Packed {
  const uncompressed = { packed: plain, bitmask: compressionsAlgorithms.none.bitmask };
  if (compression === 'none') return uncompressed;
  const { compressSync, bitmask } = compressionsAlgorithms[compression];
  const packed = compressSync(plain);
  return packed.length < plain.length ? { packed, bitmask } : uncompressed;
}

function records(bodies: readonly Buffer[]): Buffer {
  const sizes = bodies.map((body, place) => 2 + varintSize(place) + body.length);
  const buffer = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + varintSize(size) + size, 0));
  let at = 0;
  for (const [place, body] of bodies.entries()) {
    at = writeVarint(buffer, at, sizes[place] ?? 0);
    // Attributes, and the time's distance from that of the batch: both none.
    at = buffer.writeInt16BE(0, at);
    at = writeVarint(buffer, at, place);
    at += body.copy(buffer, at);
  }
  return buffer;
}

/** Lengths and places are never negative, so the zigzag of one is its double. */
function varintSize(value: number): number {
  const zigzag = value * 2;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x20_0000) return 3;
  return zigzag < 0x1000_0000 ? 4 : 5;
}

function writeVarint(buffer: Buffer, at: number, value: number): number {
  let rest = value * 2;
  let place = at;
  while (rest >= 0x80) {
    buffer[place] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
    place += 1;
  }
  buffer[place] = rest;
  return place + 1;
}
