/**
 * One transaction of a million rows streams through both agents piece by piece. What grows with it is what conflicts are judged
 * from: of each event some forty bytes are kept until nothing concurrent with it can arrive any more, up to a million of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peaksOf } from '../support/agent-memory.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';

const ROWS = Number(process.env.SYNCLINE_GIANT_ROWS ?? 1_000_000);
const PEAK_MAX_MB = 300;
const SETTLE_LIMIT_MS = 780_000;

test(`a transaction of ${ROWS} rows takes at most ${PEAK_MAX_MB} MB in the agent that publishes and in the one that applies`, async (t) => {
  await using cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: 'create table item (id int primary key, n bigint not null, note text not null)',
    settings: { max_wal_size: '4GB' },
  });
  const [eu] = cluster.regions as [ClusterRegion];
  const before = await peaksOf(cluster.regions);
  const startedMs = performance.now();
  await eu.sql(`insert into item select i, i * 7, repeat('x', 40) from generate_series(1, ${ROWS}) i`);
  const writtenMs = performance.now();
  await cluster.settle(SETTLE_LIMIT_MS);
  const appliedMs = performance.now();
  const [[rows] = []] = await cluster.equal('select count(*), sum(n), sum(length(note)) from item');
  assert.equal(rows, String(ROWS));
  const peaks = await peaksOf(cluster.regions);
  const seconds = (ms: number): number => Math.round(ms / 1_000);
  t.diagnostic(
    `written in ${seconds(writtenMs - startedMs)} s, applied ${seconds(appliedMs - writtenMs)} s later; ` +
      `MB at most: ${JSON.stringify({ before, after: peaks })}`,
  );
  for (const peak of Object.values(peaks)) assert.ok(peak <= PEAK_MAX_MB, `${peak} MB`);
});
