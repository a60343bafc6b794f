/**
 * Lets the interpreter begin with less memory than it was built to begin with.
 *
 * All of its memory is set anew before each call, so what it never touches costs as much as what it does. It asks for more where it
 * needs more, and then has it at the same addresses as if it had been there from the beginning; a memory that is not there
 * cannot be written, so nothing has to be trusted. What a function gives, and where it ends for want of memory, is the
 * same: the number that is changed is only what the module demands of the memory that it is handed.
 */
import { invariant } from '../../platform/assert.ts';

/** An import `a.a` of a memory of at least 256 pages that has a maximum, as the module's bytes say it. */
const DEMAND = Uint8Array.of(1, 0x61, 1, 0x61, 2, 1, 0x80, 0x02);
/** What two bytes of that number can say. */
const PAGES_MAX = 2 ** 14 - 1;

export function demandingPages(wasm: Uint8Array, pages: number): Uint8Array {
  invariant(pages <= PAGES_MAX, 'the number has as many bytes as the one in its place');
  const bytes = Buffer.from(wasm);
  const at = bytes.indexOf(DEMAND);
  invariant(at >= 0 && bytes.indexOf(DEMAND, at + 1) < 0, 'the module imports one memory, of 256 pages');
  bytes[at + DEMAND.length - 2] = 0x80 | (pages & 0x7f);
  bytes[at + DEMAND.length - 1] = pages >> 7;
  return bytes;
}
