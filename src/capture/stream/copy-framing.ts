// Frames what the server sends from START_REPLICATION on: socket chunks in, whole frames out.
//
// A chunk may end anywhere, within a length as well as within a row. Frames that lie whole in a
// chunk are handed on as views of it; a frame that spans chunks gets a buffer of exactly its own
// size as soon as its header is known, so every byte is copied once at most, however many chunks a
// large row takes. (Joining each new chunk to what is left would copy a row of n chunks n times.)
//
// A view is valid as long as the chunk is not overwritten. Sockets of Node allocate every chunk
// anew, so frames may wait in a queue; whoever feeds other buffers must decode before reusing them.
//
// A frame above the bound is told of by its first bytes, and no memory is spent on the rest: a row
// near 1 GB cannot become one event. Whether it may be left out is not known here, since that
// depends on its table, and whoever is told must not go on as if nothing was missing.

import { fail, type SynclineError } from '../../platform/errors.ts';
import { POSTGRES_EPOCH_MICROS } from './pgoutput-decoder.ts';

/** Below the longest string that the engine can hold, so that any value of a frame fits into one. */
export const FRAME_BYTES_MAX_DEFAULT = 512 * 1024 * 1024;

const HEADER_BYTES = 5;
const XLOG_DATA_HEADER_BYTES = 25;
const KEEPALIVE_BYTES = 18;
/** What is kept of a frame above the bound: up to the message's tag and the oid of its table. */
const HEAD_BYTES = HEADER_BYTES + XLOG_DATA_HEADER_BYTES + 5;

const TAG = {
  commandComplete: 0x43, // C
  copyBothResponse: 0x57, // W
  copyData: 0x64, // d
  copyDone: 0x63, // c
  errorResponse: 0x45, // E
  keepalive: 0x6b, // k, inside of CopyData
  noticeResponse: 0x4e, // N
  parameterStatus: 0x53, // S
  readyForQuery: 0x5a, // Z
  xLogData: 0x77, // w, inside of CopyData
} as const;

/** The fields of an ErrorResponse or NoticeResponse that do not depend on the server's language. */
export interface ServerReport {
  /** ERROR, FATAL, PANIC, WARNING, NOTICE, … never translated. */
  readonly severity: string;
  readonly sqlState: string;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** Source file and function of the server that raised it. */
  readonly file: string | undefined;
  readonly routine: string | undefined;
}

/**
 * One message of the output plugin. A stream has one of these per row, so the numbers are read only
 * when they are asked for; `bytes` from `start` to `end` is the payload.
 */
export class XLogData {
  readonly kind = 'xlog-data';
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  get walStart(): bigint {
    return this.bytes.readBigUInt64BE(this.start - 24);
  }

  get walEnd(): bigint {
    return this.bytes.readBigUInt64BE(this.start - 16);
  }

  /** Unix microseconds. */
  get serverTimeMicros(): bigint {
    return this.bytes.readBigInt64BE(this.start - 8) + POSTGRES_EPOCH_MICROS;
  }

  get payload(): Buffer {
    return this.bytes.subarray(this.start, this.end);
  }
}

export interface Keepalive {
  readonly kind: 'keepalive';
  /** The server has sent everything that committed below this position. */
  readonly walEnd: bigint;
  /** Unix microseconds. */
  readonly serverTimeMicros: bigint;
  readonly replyRequested: boolean;
}

/** A message of the output plugin that is above the bound. */
export interface OversizedData {
  readonly kind: 'oversized';
  /** The first byte of the message. */
  readonly tag: number;
  /** The four bytes behind it: in a change of a row, the oid of its table. */
  readonly oid: number;
  /** Of the whole frame. */
  readonly frameBytes: number;
}

export type BackendFrame =
  | XLogData
  | OversizedData
  | Keepalive
  | { readonly kind: 'copy-both' }
  | { readonly kind: 'copy-done' }
  | { readonly kind: 'error'; readonly report: ServerReport }
  | { readonly kind: 'notice'; readonly report: ServerReport }
  | { readonly kind: 'command-complete'; readonly tag: string }
  | { readonly kind: 'ready-for-query' }
  | { readonly kind: 'parameter-status'; readonly name: string; readonly value: string };

export class CopyFraming {
  readonly #frameBytesMax: number;
  readonly #onFrame: (frame: BackendFrame) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** What is kept of the frame that spans chunks, header included; undefined while its header is not complete. */
  #partial: Buffer | undefined;
  #partialBytes = 0;
  /** Bytes behind that which are not kept. */
  #skippedBytes = 0;

  constructor(onFrame: (frame: BackendFrame) => void, frameBytesMax = FRAME_BYTES_MAX_DEFAULT) {
    this.#onFrame = onFrame;
    this.#frameBytesMax = frameBytesMax;
  }

  /** Hands on every frame that the chunk completes, in order, before it returns. */
  push(chunk: Buffer): void {
    let at = this.#goOn(chunk, 0);
    while (chunk.length - at >= HEADER_BYTES) {
      const size = this.#sizeOf(chunk, at);
      if (size > this.#frameBytesMax || chunk.length - at < size) {
        this.#beginPartial(size);
        at = this.#goOn(chunk, at);
        continue;
      }
      this.#onFrame(parseFrame(chunk, at, at + size));
      at += size;
    }
    if (at < chunk.length) this.#headerBytes = chunk.copy(this.#header, 0, at);
  }

  #beginPartial(size: number): Buffer {
    const kept = size > this.#frameBytesMax ? Math.min(size, HEAD_BYTES) : size;
    const partial = Buffer.allocUnsafeSlow(kept);
    this.#partial = partial;
    this.#partialBytes = 0;
    this.#skippedBytes = size - kept;
    return partial;
  }

  /** Takes what belongs to the frame that is not complete, and returns where the next one begins. */
  #goOn(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#headerBytes > 0) {
      at += chunk.copy(this.#header, this.#headerBytes, at, at + HEADER_BYTES - this.#headerBytes);
      this.#headerBytes += at - from;
      if (this.#headerBytes < HEADER_BYTES) return at;
      this.#headerBytes = 0;
      const begun = this.#beginPartial(this.#sizeOf(this.#header, 0));
      this.#partialBytes = this.#header.copy(begun);
    }
    const partial = this.#partial;
    if (partial !== undefined) {
      const copied = chunk.copy(partial, this.#partialBytes, at);
      this.#partialBytes += copied;
      at += copied;
      if (this.#partialBytes < partial.length) return at;
      this.#partial = undefined;
      const size = partial.length + this.#skippedBytes;
      this.#onFrame(size > this.#frameBytesMax ? this.#oversized(partial, size) : parseFrame(partial, 0, size));
    }
    const skipped = Math.min(this.#skippedBytes, chunk.length - at);
    this.#skippedBytes -= skipped;
    return at + skipped;
  }

  #oversized(head: Buffer, frameBytes: number): OversizedData {
    const start = HEADER_BYTES + XLOG_DATA_HEADER_BYTES;
    if (head.length === HEAD_BYTES && head[0] === TAG.copyData && head[HEADER_BYTES] === TAG.xLogData) {
      return { kind: 'oversized', tag: head.readUInt8(start), oid: head.readUInt32BE(start + 1), frameBytes };
    }
    throw tooLarge(frameBytes, this.#frameBytesMax);
  }

  /** Bytes of the frame that begins here, its tag included. */
  #sizeOf(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at + 1);
    if (length < 4) throw malformed(`a frame of ${length} bytes`);
    return length + 1;
  }
}

function parseFrame(bytes: Buffer, start: number, end: number): BackendFrame {
  const at = start + HEADER_BYTES;
  const tag = bytes[start] as number;
  switch (tag) {
    case TAG.copyData:
      return parseCopyData(bytes, at, end);
    case TAG.copyBothResponse:
      return { kind: 'copy-both' };
    case TAG.copyDone:
      return { kind: 'copy-done' };
    case TAG.errorResponse:
      return { kind: 'error', report: parseReport(bytes, at, end) };
    case TAG.noticeResponse:
      return { kind: 'notice', report: parseReport(bytes, at, end) };
    case TAG.commandComplete:
      return { kind: 'command-complete', tag: cString(bytes, at, end).text };
    case TAG.readyForQuery:
      return { kind: 'ready-for-query' };
    case TAG.parameterStatus: {
      const name = cString(bytes, at, end);
      return { kind: 'parameter-status', name: name.text, value: cString(bytes, name.next, end).text };
    }
    default:
      throw malformed(`unknown frame tag 0x${tag.toString(16).padStart(2, '0')}`);
  }
}

function parseCopyData(bytes: Buffer, at: number, end: number): XLogData | Keepalive {
  const tag = at < end ? bytes[at] : undefined;
  if (tag === TAG.xLogData && end - at >= XLOG_DATA_HEADER_BYTES) {
    return new XLogData(bytes, at + XLOG_DATA_HEADER_BYTES, end);
  }
  if (tag === TAG.keepalive && end - at === KEEPALIVE_BYTES) {
    return {
      kind: 'keepalive',
      walEnd: bytes.readBigUInt64BE(at + 1),
      serverTimeMicros: bytes.readBigInt64BE(at + 9) + POSTGRES_EPOCH_MICROS,
      replyRequested: bytes[at + 17] === 1,
    };
  }
  throw malformed(`copy data with the tag ${tag} and ${end - at} bytes`);
}

function parseReport(bytes: Buffer, start: number, end: number): ServerReport {
  const fields = new Map<string, string>();
  let at = start;
  while (at < end && bytes[at] !== 0) {
    const field = cString(bytes, at + 1, end);
    fields.set(String.fromCharCode(bytes[at] as number), field.text);
    at = field.next;
  }
  return {
    severity: fields.get('V') ?? fields.get('S') ?? 'ERROR',
    sqlState: fields.get('C') ?? 'XX000',
    message: fields.get('M') ?? 'the server gave no message',
    detail: fields.get('D'),
    hint: fields.get('H'),
    file: fields.get('F'),
    routine: fields.get('R'),
  };
}

function cString(bytes: Buffer, start: number, end: number): { text: string; next: number } {
  const stop = bytes.indexOf(0, start);
  if (stop < 0 || stop >= end) throw malformed('a text without an end');
  return { text: bytes.toString('utf8', start, stop), next: stop + 1 };
}

/** Of what cannot be left out. */
export function tooLarge(bytes: number, bytesMax: number): SynclineError {
  return fail('SYN-K007', `a frame of ${bytes} bytes is above the limit of ${bytesMax} bytes`, {
    context: { bytes, bytesMax },
  });
}

function malformed(what: string): SynclineError {
  return fail('SYN-K006', `the replication stream is malformed: ${what}`);
}
