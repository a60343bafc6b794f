/** Values near the largest that a record may hold. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';

/** More than one call of V8 may replace. */
const QUOTES = 40_000_000;
const SETTLE_LIMIT_MS = 300_000;

test(`a value of ${QUOTES} quotes, each of which has to be escaped`, async () => {
  await using cluster = await Cluster.start({
    regions: ['eu', 'us'],
    schema: 'create table document (id int primary key, body text)',
  });
  const [eu, us] = cluster.regions as [ClusterRegion, ClusterRegion];
  await eu.sql(`insert into document values (1, repeat('"', ${QUOTES}))`);
  await us.sql("insert into document values (2, 'beside it')");
  await cluster.settle(SETTLE_LIMIT_MS);
  const [[size, beside] = []] = await cluster.equal('select max(length(body)), count(*) from document');
  assert.deepEqual([size, beside], [String(QUOTES), '2']);
});
