/**
 * How long after its commit one transaction of very many rows is visible in another region, side by side with PostgreSQL's own
 * logical replication, with everything up and idle before.
 */

import type { Measured } from './measured.ts';
import { NativePair, type Pair, SynclinePair, untilThere } from './pairs.ts';

export const GIANT_SCHEMA =
  'create table public.readings (id bigint primary key, at timestamptz, value int, note text)';

export async function measureGiant(rows: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  const pairs: readonly Pair[] = [
    stack.use(await SynclinePair.start(GIANT_SCHEMA)),
    stack.use(await NativePair.start(GIANT_SCHEMA)),
  ];
  const runs: Measured[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const pair of pairs) {
      await untilThere(pair);
      await insertGiant(pair, round, rows);
      const tookMs = await untilThere(pair);
      runs.push({ side: pair.side, metric: 'rows_per_s', value: rows / (tookMs / 1_000) });
      const memory = await pair.memoryPeakMb();
      if (memory !== null) runs.push({ side: pair.side, metric: 'agent_memory_peak_mb', value: memory });
    }
  }
  return runs;
}

/** All rows of one round in one transaction; rounds are numbered from zero. */
export async function insertGiant({ source }: Pick<Pair, 'source'>, round: number, rows: number): Promise<void> {
  await source.query(
    `insert into public.readings
       select ${round * rows} + i, timestamptz '2026-01-01' + i * interval '1 s', i, md5(i::text)
         from generate_series(1, ${rows}) as i`,
  );
}
