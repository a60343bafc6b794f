// A rolling upgrade from an earlier build to this one, with real servers and agents, under load.
//
//   npm run test:upgrade               from the last commit before the newest migration of the schema
//   npm run test:upgrade -- GITREF     from that commit
//
// Three regions begin with agents of the earlier build, which a journal's clients write through without a pause. One region after
// the other is upgraded, by a kill and by an orderly stop in turn; between two steps, changes must pass from each region to each
// other one. In the end all are equal and each write is accounted for. Then the ways back are walked: an agent of the earlier build is
// refused where the schema was upgraded, and works on a copy of the database from before, which gets back what it lacks; and after an
// uninstall everywhere, all begin anew with it.
//
// SYNCLINE_LOG=kafka has the streams in Kafka, as in the tests. It needs the history of git, and takes some minutes.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { systemRandom } from '../src/platform/random.ts';
import { freePort } from '../src/platform/servers/free-port.ts';
import { Cluster, type ClusterRegion } from '../test/support/cluster.ts';
import { run } from '../test/support/command.ts';
import { EarlierBuild, schemaVersionHere } from '../test/support/earlier-build.ts';
import { JOURNAL_SCHEMA, Journal, JournalWriters } from '../test/support/journal.ts';
import { accountForAll, nothingTwice } from '../test/support/journal-check.ts';
import { StreamFollower } from '../test/support/journal-streams.ts';
import { comesBack, copyOf } from '../test/support/older-copy.ts';
import { waitFor } from '../test/support/wait-for.ts';

const CLIENTS = 2;
const COMMITS_BETWEEN = 150;
const COMMITS_AWAY = 40;
const PASS_LIMIT_MS = 300_000;
const SCHEMA = `${JOURNAL_SCHEMA}
create table passed (step text, region text, primary key (step, region));
insert into passed values ('before all', 'none');`;

await using earlier = await EarlierBuild.make(process.argv[2]);
const [from, to] = [await earlier.schemaVersion(), await schemaVersionHere()];
say(`from ${earlier.commit.slice(0, 12)}, schema ${from}, to this build, schema ${to}`);

await using cluster = await Cluster.start({ schema: SCHEMA, agents: false });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void giveUp());
const [first] = cluster.regions as [ClusterRegion];
const current = first.program;
for (const region of cluster.regions) region.program = earlier.program;
await cluster.startAgents();
await passes('all of the earlier build');

const journal = new Journal();
const seed = systemRandom.below(1_000_000);
let copy = '';
{
  await using follower = await StreamFollower.start(cluster);
  {
    await using _writers = new JournalWriters(cluster.regions, journal, { clients: CLIENTS, seed });
    await journal.moreAcknowledged(COMMITS_BETWEEN);
    copy = await copyOf(first);
    await standsBack(first);
    for (const [place, region] of cluster.regions.entries()) await upgrade(region, place % 2 === 0);
  }
  const fates = await accountForAll(cluster, journal);
  await cluster.equal('select conflict_id, event_id_a, winner_event_id from syncline.conflict_log order by 1');
  assert.deepEqual(journal.surprises, [], 'no client met anything but a server that was restarted');
  for (const region of cluster.regions) await nothingTwice(region);
  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  assert.deepEqual(await follower.end(cluster), [], 'each stream has each transaction once');
  say(`${journal.acknowledged} commits were acknowledged; writes: ${JSON.stringify(fates)}`);
}
await cluster.startAgents();
await goBack(first);
if ((process.env.SYNCLINE_LOG ?? 'embedded') === 'embedded') await beginAnew();
say('all regions are equal');

/** Leaves neither agents nor a worktree behind. */
async function giveUp(): Promise<void> {
  await cluster[Symbol.asyncDispose]().catch(() => undefined);
  await earlier[Symbol.asyncDispose]();
  process.exit(1);
}

/** The agent that is at work keeps its region, and its schema. */
async function standsBack(region: ClusterRegion): Promise<void> {
  const path = `${region.configPath}.other.yaml`;
  const config = await cluster.configOf(region.name);
  await writeFile(
    path,
    config.replace(`api: { listen: "127.0.0.1:${region.port}"`, `api: { listen: "127.0.0.1:${await freePort()}"`),
  );
  const { code, stderr } = await run(['agent', '-c', path]);
  assert.equal(code, 1);
  assert.match(stderr, /SYN-K005/);
  assert.equal(await versionOf(region), String(from));
  say(`${region.name}: an agent of this build stands back while the other one is at work`);
}

async function upgrade(region: ClusterRegion, byKill: boolean): Promise<void> {
  if (byKill) await region.killAgent();
  else assert.equal(await region.stopAgent(), 0);
  await journal.moreAcknowledged(COMMITS_AWAY);
  region.program = current;
  region.startAgent();
  await region.agentReady();
  assert.equal(await versionOf(region), String(to));
  await journal.moreAcknowledged(COMMITS_BETWEEN);
  await passes(`${region.name} is upgraded`);
  say(
    `${region.name} is upgraded, ${byKill ? 'its agent killed' : 'its agent stopped'} before; changes pass both ways`,
  );
}

/** A row of each region reaches each other one. */
async function passes(step: string): Promise<void> {
  for (const region of cluster.regions) await region.sql(`insert into passed values ('${step}', '${region.name}')`);
  for (const region of cluster.regions) {
    await waitFor(
      async () =>
        (await region.one(`select count(*) from passed where step = '${step}'`)) === String(cluster.regions.length),
      {
        what: `${step}: a row of each region in ${region.name}:\n${region.output.slice(-4_000)}`,
        limitMs: PASS_LIMIT_MS,
      },
    );
  }
}

async function goBack(region: ClusterRegion): Promise<void> {
  await region.stopAgent();
  if (from < to) {
    const { code, stderr } = await run(['agent', '-c', region.configPath], {}, earlier.program);
    assert.equal(code, 1);
    assert.match(stderr, /SYN-P015/);
    assert.equal(await versionOf(region), String(to));
    say(`${region.name}: the earlier build is refused with SYN-P015`);
    await comesBack(region, copy);
    assert.equal(await versionOf(region), String(from));
  }
  region.program = earlier.program;
  region.startAgent();
  await region.agentReady();
  await passes('back');
  await areEqual();
  say(`${region.name}: the earlier build works ${from < to ? 'on a copy from before' : 'again'}, and has got all back`);
  await region.stopAgent();
  region.program = current;
  region.startAgent();
  await region.agentReady();
  await passes('upgraded again');
  await areEqual();
}

/** Nobody writes any more. What settling means in full, only the schema of this build tells. */
async function areEqual(): Promise<void> {
  await waitFor(
    async () => {
      await cluster.equal('select * from contended order by id');
      return await cluster.equal('select * from ledger order by token, row_id');
    },
    { what: 'all regions to be equal', limitMs: PASS_LIMIT_MS },
  );
}

/** What uninstall leaves is nothing that an agent of any version could trip over. */
async function beginAnew(): Promise<void> {
  for (const region of cluster.regions) assert.equal(await region.stopAgent(), 0);
  for (const { configPath } of cluster.regions) {
    const { code, stderr } = await run(['uninstall', '--yes', '--log', '-c', configPath]);
    assert.equal(code, 0, stderr);
  }
  for (const region of cluster.regions) region.program = earlier.program;
  await cluster.startAgents();
  await passes('begun anew');
  await areEqual();
  for (const region of cluster.regions) assert.equal(await versionOf(region), String(from));
  say('uninstalled everywhere, all regions begin anew with the earlier build');
}

async function versionOf(region: ClusterRegion): Promise<string | null> {
  return await region.one("select value from syncline.meta where key = 'schema_version'");
}

function say(what: string): void {
  console.log(`${new Date().toISOString().slice(11, 19)} ${what}`);
}
