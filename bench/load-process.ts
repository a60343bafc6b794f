/** The process of a load (load.ts): is told what to do, says when its clients are connected, does it, tells the figures, ends. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { sqlStateOf } from '../src/platform/errors.ts';
import { connect, type PostgresClient } from '../src/platform/postgres.ts';
import { type Random, seededRandom } from '../src/platform/random.ts';
import { transactOnce } from '../test/support/tpcb.ts';
import { ACCOUNTS, type Load, type LoadFigures } from './load.ts';
import { quantile } from './quantile.ts';

const [load] = (await once(process, 'message')) as [Load];
const { clients, seconds, seed, rate } = load;
const sessions = await Promise.all(
  Array.from({ length: clients }, async () => await connect(load.url, { applicationName: 'bench load' })),
);
for (const session of sessions) await session.query('set search_path = public, pg_catalog');
process.send?.('connected');
process.send?.(await generate());
await Promise.all(sessions.map(async (session) => await session.end()));
process.disconnect();

async function generate(): Promise<LoadFigures> {
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1_000;
  const failures: Record<string, number> = {};
  const tookMs: number[] = [];
  const client = async (session: PostgresClient, place: number): Promise<void> => {
    const random = seededRandom(seed * 1_000 + place);
    for (let number = 0; ; number += 1) {
      const dueMs = rate === null ? performance.now() : startedMs + ((number * clients + place) * 1_000) / rate;
      if (dueMs > endMs) return;
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 0) await delay(earlyMs);
      try {
        await transact(session, random);
        tookMs.push(performance.now() - dueMs);
      } catch (error) {
        const state = sqlStateOf(error);
        // Anything but an error of the server means that there is no load.
        if (state === undefined || state === null) throw error;
        failures[state] = (failures[state] ?? 0) + 1;
      }
    }
  };
  await Promise.all(sessions.map(client));
  tookMs.sort((a, b) => a - b);
  const quantiles = { p50: quantile(tookMs, 0.5), p99: quantile(tookMs, 0.99) };
  const figures = { transactions: tookMs.length, failures, tookMs: quantiles };
  return { ...figures, seconds: (performance.now() - startedMs) / 1_000 };
}

async function transact(session: PostgresClient, random: Random): Promise<void> {
  if (load.tpcb !== null) return await transactOnce(session, load.tpcb.region, random, load.tpcb.part);
  await session.query(
    'update accounts set abalance = abalance + $2 where aid = $1',
    [String(1 + random.below(ACCOUNTS)), String(random.below(10_001) - 5_000)],
    { prepare: true },
  );
}
