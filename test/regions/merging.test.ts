/** Tables that merge, in three regions: what both sides wrote survives, the outcome is one, and so is the conflict log. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { MergeRegistration } from '../../src/api/merge-schemas.ts';
import { seededRandom } from '../../src/platform/random.ts';
import { setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { waitFor } from '../support/wait-for.ts';

const WITHDRAWALS = Number(process.env.SYNCLINE_CONFLICTS ?? 600);

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
let ap: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    schema: `
      create table carts (id int primary key, items text[] not null default '{}', tags jsonb not null default '[]');
      create table docs (id int primary key, body text, meta jsonb);
      create table notes (id int primary key, v text, n int);
      create table purses (id int primary key, c numeric(8, 2) not null check (c >= 0), name varchar(5) not null, small smallint);
      create table gone (id int primary key, n int);`,
  });
  [eu, us, ap] = ['eu', 'us', 'ap'].map((name) => cluster.region(name)) as [
    ClusterRegion,
    ClusterRegion,
    ClusterRegion,
  ];
});
after(async () => await cluster?.[Symbol.asyncDispose]());

async function merges(table: string, rule: Omit<MergeRegistration, 'table'>): Promise<string> {
  const { version_id } = await registerMerge(eu, { table: `public.${table}`, ...rule });
  await untilMerge(cluster.regions, version_id, 'active');
  return version_id;
}

/** Lets regions write without hearing of each other, and then hear. */
async function apart(writes: () => Promise<unknown>): Promise<void> {
  const links = cluster.regions.flatMap((target) =>
    cluster.regions.filter((source) => source !== target).map((source) => [source.name, target] as const),
  );
  for (const [source, target] of links) await setLink(source, target, 'paused');
  await writes();
  for (const [source, target] of links) await setLink(source, target, 'active');
  await cluster.settle();
}

/** The only row of a query, the same in all regions. */
async function only(query: string): Promise<(string | null)[]> {
  const rows = await cluster.equal(query);
  assert.equal(rows.length, 1);
  return rows[0] ?? [];
}

describe('a table that merges', () => {
  test('keeps what either side added to a cart, and takes out what was seen and removed', async () => {
    await merges('carts', { columns: { items: 'set', tags: 'set' } });
    await eu.sql(`insert into carts values (1, '{apple,bread}', '["a"]')`);
    await cluster.settle();
    await apart(async () => {
      await eu.sql(`update carts set items = items || '{milk}', tags = tags || '["eu"]'`);
      await us.sql(`update carts set items = array_remove(items, 'bread') || '{"long, name"}'`);
      await ap.sql(`update carts set items = array_remove(items, 'apple'), tags = tags || '["ap"]'`);
    });
    const [items, tags] = await only('select items, tags from carts');
    assert.deepEqual(
      items
        ?.slice(1, -1)
        .match(/"[^"]*"|[^,]+/g)
        ?.sort(),
      ['"long, name"', 'milk'],
    );
    assert.deepEqual((JSON.parse(tags ?? '') as string[]).sort(), ['a', 'ap', 'eu']);
    // What is added again later is there again.
    await us.sql(`update carts set items = items || '{bread}'`);
    await cluster.settle();
    assert.match((await only('select items from carts'))[0] ?? '', /bread/);
  });

  test('keeps edits in different places of a text and of a document', async () => {
    await merges('docs', { columns: { body: 'text', meta: 'json' } });
    await eu.sql(`insert into docs values (1, e'one\\ntwo\\nthree\\nfour\\n', '{"a": 1, "b": {"x": 1.10, "y": 2}}')`);
    await cluster.settle();
    await apart(async () => {
      await eu.sql(`update docs set body = replace(body, 'one', 'ONE'), meta = jsonb_set(meta, '{b,x}', '1.20')`);
      await us.sql(`update docs set body = replace(body, 'four', 'FOUR'), meta = meta || '{"c": [1]}'`);
    });
    assert.deepEqual(await only('select body, meta from docs'), [
      'ONE\ntwo\nthree\nFOUR\n',
      '{"a": 1, "b": {"x": 1.20, "y": 2}, "c": [1]}',
    ]);
  });

  test('merges by a function, whose failures fall back to the later write and are the same everywhere', async () => {
    const source = `
      type Row = { v: string; n: string };
      export default function merge({ a, b }: { a: Row; b: Row }) {
        if (b.v === 'throw' || a.v === 'throw') throw new Error('no');
        if (b.v === 'loop' || a.v === 'loop') for (;;);
        if (b.v === 'date' || a.v === 'date') return { ...b, v: String(new Date()) };
        return { ...b, v: [a.v, b.v].join('+'), n: String(Number(a.n) + Number(b.n)) };
      }`;
    const version = await merges('notes', { source });
    await eu.sql(`insert into notes select i, 'base', 1 from generate_series(1, 4) i`);
    await cluster.settle();
    await apart(async () => {
      await eu.sql(`update notes set v = 'eu', n = 10`);
      await us.sql(`update notes set v = (array['us', 'throw', 'loop', 'date'])[id], n = 100`);
    });
    const rows = await cluster.equal('select id, v, n from notes order by id');
    assert.deepEqual(rows, [
      ['1', 'eu+us', '110'],
      ['2', 'throw', '100'],
      ['3', 'loop', '100'],
      ['4', 'date', '100'],
    ]);
    await cluster.settleConflicts();
    const log = await cluster.equal(
      `select row_pk->>'id', resolution_strategy, merge_version, base_image->>'v', image_a->>'v', image_b->>'v', result_image->>'v', provisional
         from syncline.conflict_log where table_name = 'notes' order by 1`,
    );
    assert.deepEqual(log, [
      ['1', 'function', version, 'base', 'eu', 'us', 'eu+us', 'f'],
      ['2', 'function', version, 'base', 'eu', 'throw', 'throw', 'f'],
      ['3', 'function', version, 'base', 'eu', 'loop', 'loop', 'f'],
      ['4', 'function', version, 'base', 'eu', 'date', 'date', 'f'],
    ]);
  });

  test('takes no merge that breaks a CHECK, a length or a range: the step gives the later write, everywhere', async (t) => {
    await merges('purses', {
      columns: { c: 'counter', small: 'counter' },
    });
    await eu.sql(`insert into purses select i, 100, 'x', 32000 from generate_series(1, 20) i`);
    await cluster.settle();
    const random = seededRandom(7);
    const withdraw = async (region: ClusterRegion): Promise<void> => {
      for (let left = WITHDRAWALS / 3; left > 0; left -= 1) {
        const [id, amount, grow] = [1 + random.below(20), random.below(9_000) / 100 - 40, random.below(900) - 300];
        await region.sql(
          `update purses set c = greatest(c - ${amount}, 0), small = least(small + ${grow}, 32767), name = '${region.name}' where id = ${id}`,
        );
      }
    };
    await Promise.all(cluster.regions.map(withdraw));
    await cluster.settle();
    const rows = await cluster.equal('select id, c, small, name from purses order by id');
    assert.ok(rows.every(([, c, small]) => Number(c) >= 0 && Number(small) <= 32_767));
    for (const region of cluster.regions)
      assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
    await cluster.settleConflicts();
    const log = await cluster.equal(
      `select conflict_id, winner_event_id, result_image, provisional from syncline.conflict_log where table_name = 'purses' order by 1`,
    );
    assert.ok(log.length > 0 && log.every(([, , , provisional]) => provisional === 'f'));
    t.diagnostic(`${log.length} conflicts of ${WITHDRAWALS} withdrawals`);
  });

  test('decides removals by its policy', async () => {
    await merges('gone', { columns: { n: 'counter' }, options: { deletes: 'update-wins' } });
    await eu.sql('insert into gone values (1, 1), (2, 1)');
    await cluster.settle();
    await apart(async () => {
      await us.sql('update gone set n = n + 5 where id = 1');
      await ap.sql('update gone set n = n + 7 where id = 1');
      await eu.sql('delete from gone');
    });
    assert.deepEqual(await cluster.equal('select * from gone'), [['1', '13']]);
    await apart(async () => {
      await us.sql('update gone set n = n + 1 where id = 1');
      await eu.sql('truncate gone');
    });
    assert.deepEqual(await cluster.equal('select * from gone'), [['1', '14']]);
  });

  test('keeps nothing but its rows once all is quiet', async () => {
    await cluster.settleConflicts();
    for (const region of cluster.regions) {
      await waitFor(
        async () =>
          (await region.one(
            'select (select count(*) from syncline.history) + (select count(*) from syncline.merge_state)',
          )) === '0',
        { what: `${region.name} to forget what is stable`, limitMs: 60_000 },
      );
    }
  });
});
