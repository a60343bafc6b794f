/**
 * How far a database server's clock is from this machine's, measured as NTP does: the answer was made somewhere between
 * the question and its arrival, so half of the way there and back is the bound of the error. Of several rounds the
 * quickest one tells most.
 */
import type { Queryable } from '../platform/standing-connection.ts';

export type ClockOffset = { readonly offsetMs: number; readonly errorMs: number };

const ROUNDS = 5;

/** Unix time in ms, of a clock that nobody sets while it is read. */
const here = (): number => performance.timeOrigin + performance.now();

export async function measureOffset(ask: () => Promise<number>, nowMs: () => number = here): Promise<ClockOffset> {
  let best: ClockOffset | null = null;
  for (let round = 0; round < ROUNDS; round += 1) {
    const sentMs = nowMs();
    const answerMs = await ask();
    const errorMs = (nowMs() - sentMs) / 2;
    if (best === null || errorMs < best.errorMs) best = { offsetMs: answerMs - (sentMs + errorMs), errorMs };
  }
  return best ?? { offsetMs: 0, errorMs: Number.POSITIVE_INFINITY };
}

export async function serverTimeMs(database: Queryable): Promise<number> {
  const { rows } = await database.query('select extract(epoch from clock_timestamp()) * 1000 as ms');
  return Number(rows[0]?.ms);
}
