// Percentiles of a delay over a rolling window, in bounded memory whatever the rate.
//
// The window is a ring of slices, each a histogram whose buckets grow by a constant factor, so that
// an answer is within a few percent of the truth from microseconds to a day. Old slices are emptied
// as time passes them. Keeping the samples themselves would cost memory by the rate, and a decaying
// reservoir would answer differently for the same events.

const SLICES = 30;
const SLICE_MS = 10_000;
/** How far back an answer looks. */
export const LAG_WINDOW_MS = SLICES * SLICE_MS;

/** The first bucket holds everything up to this delay. */
const FIRST_MS = 0.1;
const GROWTH = 1.08;
/** The last bucket begins at about a day. */
const BUCKETS = 270;

export class LagWindow {
  readonly #nowMs: () => number;
  readonly #slices = Array.from({ length: SLICES }, () => ({ number: -1, counts: new Uint32Array(BUCKETS) }));

  /** The clock has to be monotonic. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Takes `count` events that all had this delay. A clock that is behind its peer's gives negative ones: they are 0. */
  record(delayMs: number, count = 1): void {
    const number = Math.floor(this.#nowMs() / SLICE_MS);
    const slice = this.#slices[number % SLICES];
    if (slice === undefined) return;
    if (slice.number !== number) {
      slice.number = number;
      slice.counts.fill(0);
    }
    const bucket = bucketOf(delayMs);
    slice.counts[bucket] = (slice.counts[bucket] ?? 0) + count;
  }

  /** The delays below which these shares (0 … 1) of the window's events stayed; null where there were none. */
  percentiles<const Shares extends readonly number[]>(shares: Shares): { [K in keyof Shares]: number } | null {
    const oldest = Math.floor(this.#nowMs() / SLICE_MS) - SLICES;
    const recent = this.#slices.filter((slice) => slice.number > oldest);
    const counts = new Float64Array(BUCKETS);
    let total = 0;
    for (const slice of recent) {
      for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
        const count = slice.counts[bucket] ?? 0;
        counts[bucket] = (counts[bucket] ?? 0) + count;
        total += count;
      }
    }
    if (total === 0) return null;
    const answer = shares.map((share) => {
      const rank = Math.max(1, Math.ceil(share * total));
      let below = 0;
      for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
        below += counts[bucket] ?? 0;
        if (below >= rank) return middleOf(bucket);
      }
      return middleOf(BUCKETS - 1);
    });
    return answer as { [K in keyof Shares]: number };
  }
}

function bucketOf(delayMs: number): number {
  if (!(delayMs > FIRST_MS)) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log(delayMs / FIRST_MS) / Math.log(GROWTH)));
}

/** The geometric middle, which is off by the least factor; to a tenth of a millisecond. */
function middleOf(bucket: number): number {
  if (bucket === 0) return 0;
  return Math.round(FIRST_MS * GROWTH ** (bucket - 0.5) * 10) / 10;
}
