/** A reader of a stream that loses whole transactions: the gap that a predecessor's position must show. */
import type { ReadLimit, StoredRecord, StreamReader } from '../../src/log/event-log.ts';
import type { Random } from '../../src/platform/random.ts';

export class LossyReader implements StreamReader {
  readonly #reader: StreamReader;
  readonly #random: Random;
  readonly #rate: number;
  /** What was decided for each position: reading it again gives the same. */
  readonly #isLost = new Map<string, boolean>();

  constructor(reader: StreamReader, random: Random, rate: number) {
    this.#reader = reader;
    this.#random = random;
    this.#rate = rate;
  }

  get stream(): string {
    return this.#reader.stream;
  }

  async read(from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const records = await this.#reader.read(from, limit);
    const kept = records.filter((record) => !this.#loses(record));
    // A read that finds nothing would mean the stream's end.
    const last = records.at(-1);
    return kept.length > 0 || last === undefined ? kept : await this.read(last.offset + 1, limit);
  }

  async readBefore(before: number, limit: ReadLimit): Promise<StoredRecord[]> {
    return await this.#reader.readBefore(before, limit);
  }

  async runBefore(before: number): Promise<number> {
    return await this.#reader.runBefore(before);
  }

  async waitFor(from: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    return await this.#reader.waitFor(from, timeoutMs, signal);
  }

  async bounds(): Promise<{ readonly first: number; readonly last: number } | null> {
    return await this.#reader.bounds();
  }

  async sizeBytes(): Promise<number> {
    return await this.#reader.sizeBytes();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader[Symbol.asyncDispose]();
  }

  #loses({ position }: StoredRecord): boolean {
    if (position === null) return false;
    let isLost = this.#isLost.get(position);
    if (isLost === undefined) {
      isLost = this.#random.chance(this.#rate);
      this.#isLost.set(position, isLost);
    }
    return isLost;
  }
}
