// Gives a data directory that was copied from a template its own system identifier.
//
// Regions are separate databases, and checks for restored or cloned ones look at the identifier, so
// servers that share one would hide faults. pg_resetwal could change it but is not among the
// binaries. The identifier stands in two places: at the start of global/pg_control, which ends with
// a CRC-32C of what precedes it (at an offset that differs by version, so it is searched), and in
// the long header at the start of each WAL segment, which has no checksum.

import { randomBytes } from 'node:crypto';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { invariant } from '../assert.ts';

const WAL_HEADER_IDENTIFIER_OFFSET = 24;
const SEGMENT_NAME = /^[0-9A-F]{24}$/;

/** Writes a random identifier; the server of the directory must not be running. */
export async function renewSystemIdentifier(dataDirectory: string): Promise<void> {
  const identifier = randomBytes(8);
  // Shown as a signed number in some places, so the highest bit stays clear.
  identifier.writeUInt8(identifier.readUInt8(7) & 0x7f, 7);

  const controlPath = join(dataDirectory, 'global', 'pg_control');
  const control = await readFile(controlPath);
  const crcOffset = findChecksum(control);
  identifier.copy(control, 0);
  control.writeUInt32LE(crc32c(control.subarray(0, crcOffset)), crcOffset);
  await writeFile(controlPath, control, { flag: 'r+' });

  const walFolder = join(dataDirectory, 'pg_wal');
  for (const name of await readdir(walFolder)) {
    if (!SEGMENT_NAME.test(name)) continue;
    await using segment = await open(join(walFolder, name), 'r+');
    await segment.write(identifier, 0, identifier.length, WAL_HEADER_IDENTIFIER_OFFSET);
  }
}

function findChecksum(control: Buffer): number {
  for (let offset = 64; offset <= control.length - 4; offset += 4) {
    if (control.readUInt32LE(offset) === crc32c(control.subarray(0, offset))) return offset;
  }
  invariant(false, 'pg_control ends with a CRC-32C of its fields');
}

/** CRC-32C (Castagnoli), as PostgreSQL computes it. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
