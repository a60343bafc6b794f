/**
 * A server's clock that is set back under load, by more and by less than the window of stamping.
 *
 * Clients keep a journal for themselves: no write may be lost that no later one had seen and no conflict tells of. A
 * local write that lost to an earlier one would be such.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { agentStatus } from '../support/agent-client.ts';
import { Cluster } from '../support/cluster.ts';
import { besideDeadlocks, JOURNAL_SCHEMA, Journal, JournalWriters } from '../support/journal.ts';
import { checkLedger, fatesOf } from '../support/journal-check.ts';

const CLIENTS = 2;
const COMMITS = 60;

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start({ schema: JOURNAL_SCHEMA, clocks: { eu: 0, us: 0 } });
});
after(async () => await cluster?.[Symbol.asyncDispose]());

test('a clock that is set back by 2 s and by 50 ms loses nothing, and all regions end equal', async (t) => {
  const journal = new Journal();
  const [eu, us] = [cluster.region('eu'), cluster.region('us')];
  {
    await using _writers = new JournalWriters(cluster.regions, journal, { clients: CLIENTS, seed: 1 });
    await journal.moreAcknowledged(COMMITS);
    await eu.clock?.set(-2);
    await journal.moreAcknowledged(COMMITS);
    await us.clock?.set(-0.05);
    await journal.moreAcknowledged(COMMITS);
    await eu.clock?.set(-2.05);
    await journal.moreAcknowledged(COMMITS);
    await us.clock?.set(1);
    await journal.moreAcknowledged(COMMITS);
    await us.clock?.set(0);
    await journal.moreAcknowledged(COMMITS);
  }
  // Until then, a write that was hidden from the next one is told of by nobody.
  await cluster.settleConflicts();

  await cluster.equal('select * from contended order by id');
  await cluster.equal('select * from ledger order by token, row_id');
  await checkLedger(cluster, journal);
  const { lost, ...fates } = await fatesOf(cluster);
  t.diagnostic(
    `${journal.acknowledged} acknowledged; writes: ${JSON.stringify({ ...fates, unlogged: fates.unlogged.length })}`,
  );
  assert.deepEqual(lost, [], 'every write is accounted for');
  assert.deepEqual(besideDeadlocks(journal.surprises), []);
  for (const region of [eu, us]) {
    const { capture } = await agentStatus(region);
    t.diagnostic(`${region.name}: ${capture.pushed} of ${capture.transactions} stamps were pushed`);
    assert.ok(capture.pushed > 0);
  }
});
