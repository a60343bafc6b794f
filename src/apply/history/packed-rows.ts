/**
 * A map from row keys to small numbers for very many rows, outside of the garbage-collected heap: some forty bytes per row
 * where a Map of strings and objects takes ten times as much, and a collector that walks over all of them again and again.
 *
 * Keys are kept as their bytes, one behind the other, so a row is found for certain and not by a hash alone; an open table of
 * places leads to them. A row that goes is marked; once most are, those that are left are written anew.
 */
/** Every table of every batch has one, and most batches are small. */
const ROWS_MIN = 16;
const KEY_BYTES_MIN = 512;
/** A place per row and one that is free, so that a search ends soon. */
const PLACES_PER_ROW = 2;
const LENGTH_BYTES = 4;
/** A UTF-16 unit becomes three bytes of UTF-8 at most. */
const BYTES_PER_CHARACTER_MAX = 3;
const NONE = -1;
/** As a value: the row is here no more. */
const GONE = 0xffff_ffff;

export class PackedRows {
  /** Behind the hash of a key, the number of its row plus one; 0 for a free place. */
  #places = new Uint32Array(ROWS_MIN * PLACES_PER_ROW);
  #hashes = new Uint32Array(ROWS_MIN);
  #values = new Uint32Array(ROWS_MIN);
  /** Where each row's key begins, with its length. Beyond 4 GB of keys there are none. */
  #offsets = new Uint32Array(ROWS_MIN);
  #bytes = Buffer.allocUnsafeSlow(KEY_BYTES_MIN);
  #bytesEnd = 0;
  #count = 0;
  #gone = 0;

  get size(): number {
    return this.#count - this.#gone;
  }

  /** What it takes in memory. */
  get bytes(): number {
    const arrays = [this.#places, this.#hashes, this.#values, this.#offsets];
    return arrays.reduce((sum, array) => sum + array.byteLength, this.#bytes.length);
  }

  /** `value` is below 2^32 - 1. */
  set(key: string, value: number): void {
    let length = this.#write(key);
    const hash = hashOf(this.#bytes, this.#bytesEnd + LENGTH_BYTES, length);
    const known = this.#find(hash, length);
    if (known !== NONE) {
      if (this.#values[known] === GONE) this.#gone -= 1;
      this.#values[known] = value;
      return;
    }
    if (this.#count === this.#values.length) {
      if (2 * this.#gone <= this.#count) this.#grow();
      else {
        this.#close();
        length = this.#write(key);
      }
    }
    const row = this.#count;
    this.#count += 1;
    this.#hashes[row] = hash;
    this.#values[row] = value;
    this.#offsets[row] = this.#bytesEnd;
    this.#bytesEnd += LENGTH_BYTES + length;
    this.#place(row, hash);
  }

  get(key: string): number | undefined {
    const row = this.#rowOf(key);
    return row === NONE ? undefined : this.#valueOf(row);
  }

  /** Returns what it was. */
  delete(key: string): number | undefined {
    const row = this.#rowOf(key);
    const value = row === NONE ? undefined : this.#valueOf(row);
    if (value === undefined) return undefined;
    this.#values[row] = GONE;
    this.#gone += 1;
    return value;
  }

  /** Rows may go meanwhile. */
  *keys(): Generator<string> {
    for (let row = 0; row < this.#count; row += 1) {
      if (this.#values[row] !== GONE) yield this.#keyOf(row);
    }
  }

  #keyOf(row: number): string {
    const at = (this.#offsets[row] ?? 0) + LENGTH_BYTES;
    return this.#bytes.toString('utf8', at, at + this.#bytes.readUInt32LE(at - LENGTH_BYTES));
  }

  #valueOf(row: number): number | undefined {
    const value = this.#values[row];
    return value === GONE ? undefined : value;
  }

  #rowOf(key: string): number {
    if (this.size === 0) return NONE;
    const length = this.#write(key);
    return this.#find(hashOf(this.#bytes, this.#bytesEnd + LENGTH_BYTES, length), length);
  }

  /** Puts the key behind all others, where it stays if its row is new; returns its length. */
  #write(key: string): number {
    const room = this.#bytesEnd + LENGTH_BYTES + key.length * BYTES_PER_CHARACTER_MAX;
    if (room > this.#bytes.length) {
      const bytes = Buffer.allocUnsafeSlow(Math.max(room, 2 * this.#bytes.length));
      this.#bytes.copy(bytes, 0, 0, this.#bytesEnd);
      this.#bytes = bytes;
    }
    const length = this.#bytes.write(key, this.#bytesEnd + LENGTH_BYTES, 'utf8');
    this.#bytes.writeUInt32LE(length, this.#bytesEnd);
    return length;
  }

  /** The row whose key is the one that was written last. */
  #find(hash: number, length: number): number {
    const mask = this.#places.length - 1;
    const written = this.#bytesEnd;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const row = (this.#places[at] ?? 0) - 1;
      if (row < 0) return NONE;
      if (this.#hashes[row] !== hash) continue;
      const offset = this.#offsets[row] ?? 0;
      // With their lengths, so that no key is taken for the beginning of a longer one.
      const end = LENGTH_BYTES + length;
      if (this.#bytes.compare(this.#bytes, written, written + end, offset, offset + end) === 0) return row;
    }
  }

  #place(row: number, hash: number): void {
    const mask = this.#places.length - 1;
    let at = hash & mask;
    while (this.#places[at] !== 0) at = (at + 1) & mask;
    this.#places[at] = row + 1;
  }

  /** Those that are left move together. */
  #close(): void {
    const count = this.#count;
    this.#places.fill(0);
    this.#count = 0;
    this.#gone = 0;
    this.#bytesEnd = 0;
    for (let row = 0; row < count; row += 1) {
      const value = this.#values[row] ?? GONE;
      if (value === GONE) continue;
      const from = this.#offsets[row] ?? 0;
      const end = from + LENGTH_BYTES + this.#bytes.readUInt32LE(from);
      const hash = this.#hashes[row] ?? 0;
      const left = this.#count;
      this.#count += 1;
      this.#bytes.copyWithin(this.#bytesEnd, from, end);
      this.#offsets[left] = this.#bytesEnd;
      this.#hashes[left] = hash;
      this.#values[left] = value;
      this.#bytesEnd += end - from;
      this.#place(left, hash);
    }
  }

  #grow(): void {
    const rows = 2 * this.#values.length;
    this.#hashes = grown(this.#hashes, rows);
    this.#values = grown(this.#values, rows);
    this.#offsets = grown(this.#offsets, rows);
    this.#places = new Uint32Array(rows * PLACES_PER_ROW);
    for (let row = 0; row < this.#count; row += 1) this.#place(row, this.#hashes[row] ?? 0);
  }
}

function grown(array: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}

/** FNV-1a, and a last mixing, since neighbouring keys differ in their last bytes alone. */
function hashOf(bytes: Buffer, from: number, length: number): number {
  let hash = 0x811c_9dc5;
  for (let at = from; at < from + length; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
