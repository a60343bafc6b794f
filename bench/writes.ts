/**
 * What users of a region pay for replication: single-row updates a second, each client waiting for its commit, with replication
 * at work, with it paused, and without any, on servers with the same settings; for Syncline and for PostgreSQL's own.
 *
 * The clients go on as fast as they are answered, so both processors are taken, and what the rest of the way costs is in the
 * figure: capture and log here, and with nothing paused also the lane and the other server, which has a machine of its own in
 * earnest. Paused is the link for Syncline, so that capture goes on publishing, and the subscription for PostgreSQL, which
 * then only keeps the WAL. Ratios are to the figure without replication of the same round.
 */

import { connect } from '../src/platform/postgres.ts';
import { EmbeddedPostgres } from '../src/platform/servers/embedded-postgres.ts';
import { ACCOUNTS_SCHEMA, reachedPerSecond } from './load.ts';
import type { Measured } from './measured.ts';
import { peaks } from './memory.ts';
import { NativePair, PAIR_SETTINGS, type Pair, SynclinePair, untilThere } from './pairs.ts';

const CLIENTS = 8;
const WARM_UP_SECONDS = 3;

export async function measureWrites(seconds: number, rounds: number): Promise<Measured[]> {
  await using stack = new AsyncDisposableStack();
  await using alone = await EmbeddedPostgres.start({ version: 18, settings: PAIR_SETTINGS });
  const aloneUrl = alone.url(await alone.createDatabase());
  {
    await using client = await connect(aloneUrl, { applicationName: 'bench' });
    await client.query(ACCOUNTS_SCHEMA);
  }
  const ours = stack.use(await SynclinePair.start(ACCOUNTS_SCHEMA));
  const pairs: readonly Pair[] = [ours, stack.use(await NativePair.start(ACCOUNTS_SCHEMA))];
  const runs: Measured[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    const reached = async (url: string): Promise<number> =>
      await reachedPerSecond(url, CLIENTS, round === 0 ? WARM_UP_SECONDS : seconds, round);
    const without = await reached(aloneUrl);
    for (const pair of pairs) {
      const running = await reached(pair.sourceUrl);
      await untilThere(pair);
      await pair.pause('in-log');
      const paused = await reached(pair.sourceUrl);
      await pair.resume('in-log');
      await untilThere(pair);
      if (round === 0) continue;
      const add = (metric: string, value: number): void => {
        runs.push({ side: pair.side, metric, value });
      };
      add('transactions_per_s_running', running);
      add('transactions_per_s_paused', paused);
      add('running_to_without', running / without);
      add('paused_to_without', paused / without);
    }
    if (round > 0) runs.push({ side: 'without', metric: 'transactions_per_s', value: without });
  }
  runs.push(...(await peaks(ours)));
  return runs;
}
