/**
 * Conflict logs that withhold columns, and what lost and is written again, in real regions: the logs are equal, no withheld
 * value is in them, and what is written again is in every region, as a new version that nothing has lost to.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import type { Conflict, Reapplied } from '../../src/api/schemas.ts';
import { REDACTED } from '../../src/apply/redaction.ts';
import { setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { run } from '../support/command.ts';

const SCHEMA = `
  create table item (id int primary key, v varchar(20), n int not null default 0);
  create table person (id int primary key, email text unique, name text);
  create table child (id int primary key, of int constraint child_of references item, note text);
  insert into item select i, 'first' from generate_series(1, 9) i;
  insert into person select i, 'first-secret-' || i, 'first' from generate_series(1, 3) i`;
const LOG = `select conflict_id, event_id_a, event_id_b, schema_name, table_name, row_pk, resolution_strategy, loser_hlc,
  loser_origin, winner_hlc, winner_origin, image_a, image_b, base_image, result_image, provisional, provisional_reason,
  constraint_name, redacted from syncline.conflict_log order by conflict_id`;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
let ap: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    schema: SCHEMA,
    config: 'conflicts: { redact: ["public.person.*mail", "public.child.*"] }',
  });
  [eu, us, ap] = cluster.regions as [ClusterRegion, ClusterRegion, ClusterRegion];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

/** Writes of eu and us of which neither knows the other's, those of us being later. */
async function apart(first: string, second: string): Promise<void> {
  await cluster.settle();
  const links = async (status: 'paused' | 'active'): Promise<void> => {
    for (const target of cluster.regions) {
      for (const { name } of cluster.regions) if (name !== target.name) await setLink(name, target, status);
    }
  };
  await links('paused');
  await eu.sql(first);
  await us.sql(second);
  await links('active');
  await cluster.settleConflicts();
}

async function conflictsOf(region: ClusterRegion, query: string): Promise<Conflict[]> {
  const answer = await fetch(`${region.api}/conflicts?${query}`);
  return ((await answer.json()) as { items: Conflict[] }).items;
}

async function lossOf(region: ClusterRegion, table: string, id: number): Promise<Conflict> {
  const [conflict] = await conflictsOf(
    region,
    `table=${table}&pk=${encodeURIComponent(JSON.stringify({ id: `${id}` }))}`,
  );
  if (conflict === undefined) throw new Error(`no conflict of ${table} ${id}`);
  return conflict;
}

async function reapplied(region: ClusterRegion, id: string): Promise<Reapplied> {
  const { code, stdout, stderr } = await run(['conflicts', 'reapply', id, '-c', region.configPath, '--json']);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Reapplied;
}

test('what lost is written again in one region, and is in all of them, also where it was a removal', async () => {
  await apart(
    `update item set v = 'lost', n = 1 where id in (1, 2, 3); delete from item where id = 4`,
    `update item set v = 'won', n = 2 where id in (1, 4); delete from item where id in (2); update item set v = 'won' where id = 3`,
  );
  assert.deepEqual(await cluster.equal('select id, v, n from item where id < 5 order by id'), [
    ['1', 'won', '2'],
    ['3', 'won', '0'],
    ['4', 'won', '2'],
  ]);
  const before = await cluster.equal(LOG);
  assert.equal((await reapplied(ap, (await lossOf(ap, 'item', 1)).conflict_id)).operation, 'upsert');
  assert.equal((await reapplied(us, (await lossOf(us, 'item', 2)).conflict_id)).rows, 1);
  assert.equal((await reapplied(eu, (await lossOf(eu, 'item', 4)).conflict_id)).operation, 'delete');
  await cluster.settleConflicts();
  assert.deepEqual(await cluster.equal('select id, v, n from item where id < 5 order by id'), [
    ['1', 'lost', '1'],
    ['2', 'lost', '1'],
    ['3', 'won', '0'],
  ]);
  assert.deepEqual(await cluster.equal(LOG), before, 'a write that has seen the winner is no conflict');

  // Somebody writes between two calls: the second call is a write like the first.
  const { conflict_id } = await lossOf(ap, 'item', 1);
  await us.sql(`update item set v = 'later' where id = 1`);
  await cluster.settle();
  await reapplied(ap, conflict_id);
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select v from item where id = 1'), [['lost']]);
});

test('withheld values are in no log, the logs are equal, and such a loss is not written again', async () => {
  await apart(
    `update person set email = 'eu-secret', name = 'lost' where id = 1; update person set email = null where id = 2;
     delete from person where id = 3; delete from item where id = 9`,
    `update person set email = 'us-secret', name = 'won' where id = 1; update person set name = 'won' where id = 2;
     update person set name = 'won' where id = 3; insert into child values (5, 9, 'note-secret')`,
  );
  const log = await cluster.equal(LOG);
  assert.ok(!JSON.stringify(log).includes('secret'));
  const loss = await lossOf(ap, 'person', 1);
  assert.deepEqual([loss.provisional, loss.redacted], [false, ['email']]);
  assert.deepEqual(loss.image_a, { id: '1', email: REDACTED, name: 'lost' });
  assert.deepEqual(loss.result_image, { id: '1', email: REDACTED, name: 'won' });
  assert.equal((await lossOf(ap, 'person', 2)).image_a?.email, REDACTED, 'NULL would tell something as well');
  const [orphan] = await conflictsOf(eu, 'strategy=orphan');
  assert.deepEqual(
    [orphan?.row_pk, orphan?.image_a, orphan?.redacted],
    [{ id: '5' }, { id: '5', of: REDACTED }, ['of']],
  );

  const refused = await run(['conflicts', 'reapply', loss.conflict_id, '-c', ap.configPath]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /SYN-T162/);
  // A removal has no values, so nothing is missing of it.
  assert.equal((await reapplied(ap, (await lossOf(ap, 'person', 3)).conflict_id)).operation, 'delete');
  await cluster.settle();
  const emails = [
    ['1', 'us-secret'],
    ['2', 'first-secret-2'],
  ];
  assert.deepEqual(await cluster.equal('select id, email from person order by id'), emails);
});

test('doctor tells of regions that withhold other columns', async () => {
  const path = `${ap.configPath}.other.yaml`;
  await writeFile(path, (await readFile(ap.configPath, 'utf8')).replace('"public.child.*"', '"public.child.of"'));
  const find = async (...paths: string[]): Promise<string> =>
    (await run(['doctor', ...paths.flatMap((each) => ['-c', each])])).stdout;
  assert.ok(!(await find(eu.configPath, us.configPath)).includes('SYN-P160'));
  assert.match(
    await find(eu.configPath, path),
    /SYN-P160 The conflict log of eu alone withholds public\.child\.note\./,
  );
});
