/**
 * How fast a region that was away catches up, side by side with PostgreSQL's own logical replication: single-row updates, each a
 * transaction of its own, made while it takes nothing.
 *
 * For Syncline once with the events waiting in the log, where they are soon after the link alone is paused, and once with all
 * of them still in the source's slot, so that capture is part of the way; PostgreSQL knows only the latter. Measured is from
 * letting go until the last row is visible. The speed of catching up is also set against the speed at which a few clients
 * write, each waiting for its commits, on the same server with replication at work.
 */
import { ACCOUNTS, ACCOUNTS_SCHEMA, reachedPerSecond } from './load.ts';
import type { Measured } from './measured.ts';
import { markSeen, NativePair, type Pair, SynclinePair, untilThere, type Waits, writeMark } from './pairs.ts';

const CLIENTS = 8;
export const BACKLOG_SCHEMA = `
${ACCOUNTS_SCHEMA}
create procedure public.work(n int) language plpgsql as $$ begin
  for i in 0 .. n - 1 loop
    update public.accounts set abalance = i where aid = 1 + (i::bigint * 48271) % 2147483647 % ${ACCOUNTS};
    commit;
  end loop; end $$`;

export async function measureBacklog(transactions: number, seconds: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  const ours = stack.use(await SynclinePair.start(BACKLOG_SCHEMA));
  const peer = stack.use(await NativePair.start(BACKLOG_SCHEMA));
  const runs: Measured[] = [];
  const add = (pair: Pair, metric: string, value: number): void => {
    runs.push({ side: pair.side, metric, value });
  };
  for (let round = 0; round < rounds; round += 1) {
    for (const [pair, places] of [
      [ours, ['in-log', 'in-slot']],
      [peer, ['in-slot']],
    ] as const) {
      await untilThere(pair);
      const written = await reachedPerSecond(pair.sourceUrl, CLIENTS, seconds, round);
      await untilThere(pair);
      for (const place of places) {
        const perSecond = transactions / (await catchUp(pair, place, transactions));
        // The peer has one way, which stands beside both of ours.
        const metrics = pair === ours ? [`caught_up_per_s_${place.replace('-', '_')}`] : IN_BOTH;
        for (const metric of metrics) add(pair, metric, perSecond);
        if (place === 'in-slot') add(pair, 'caught_up_per_written', perSecond / written);
      }
      const memory = await pair.memoryPeakMb();
      if (memory !== null) add(pair, 'agent_memory_peak_mb', memory);
    }
  }
  return runs;
}

const IN_BOTH = ['caught_up_per_s_in_log', 'caught_up_per_s_in_slot'];

/** Seconds until all is there. */
async function catchUp(pair: Pair, place: Waits, transactions: number): Promise<number> {
  const mark = await letWait(pair, place, transactions);
  const startedMs = performance.now();
  await pair.resume(place);
  await markSeen(pair, mark);
  return (performance.now() - startedMs) / 1_000;
}

/** Makes transactions that wait; resolves with the mark behind them, once the next thing to do is to let go. */
export async function letWait(pair: Pair, place: Waits, transactions: number): Promise<number> {
  await pair.pause(place);
  await pair.source.query('set synchronous_commit = off');
  await pair.source.query(`call public.work(${transactions})`);
  await pair.source.query('set synchronous_commit = on');
  const mark = await writeMark(pair);
  await pair.waiting(place);
  return mark;
}
