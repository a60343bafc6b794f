// How long appends and fetches of a stream take, and how much they carry, for the metrics. Fetches that
// waited for news are not measured: their time is that of the news.

/** Upper bounds of the buckets, seconds. */
export const LATENCY_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10] as const;

export type Tally = {
  /** Per bucket, how many were within it and above the one before; the last place counts those above all. */
  readonly counts: readonly number[];
  readonly seconds: number;
  readonly bytes: number;
  readonly records: number;
  readonly errors: number;
};

export type StreamTraffic = { readonly stream: string; readonly append: Tally; readonly fetch: Tally };

export class Meter {
  readonly #counts = Array.from({ length: LATENCY_BUCKETS.length + 1 }, () => 0);
  #seconds = 0;
  #bytes = 0;
  #records = 0;
  #errors = 0;

  took(seconds: number): void {
    const found = LATENCY_BUCKETS.findIndex((bound) => seconds <= bound);
    const place = found < 0 ? LATENCY_BUCKETS.length : found;
    this.#counts[place] = (this.#counts[place] ?? 0) + 1;
    this.#seconds += seconds;
  }

  carried(records: number, bytes: number): void {
    this.#records += records;
    this.#bytes += bytes;
  }

  failed(): void {
    this.#errors += 1;
  }

  /** The mean size of a record, where any was seen. */
  get bytesPerRecord(): number {
    return this.#records === 0 ? 0 : this.#bytes / this.#records;
  }

  get tally(): Tally {
    return {
      counts: [...this.#counts],
      seconds: this.#seconds,
      bytes: this.#bytes,
      records: this.#records,
      errors: this.#errors,
    };
  }
}
