/** Rows that are hard to merge: documents that two regions edit at once, and a row that its own region never leaves alone. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { applyUpdate, Doc, encodeStateAsUpdate } from 'yjs';
import { setLink } from '../support/agent-client.ts';
import { Cluster, type ClusterRegion } from '../support/cluster.ts';
import { registerMerge, untilMerge } from '../support/merge-client.ts';
import { waitFor } from '../support/wait-for.ts';

const HOT_WRITES_MS = 2;
const REMOTE_CHANGES = 40;

let cluster: Cluster;
let eu: ClusterRegion;
let us: ClusterRegion;
let ap: ClusterRegion;
before(async () => {
  cluster = await Cluster.start({
    schema: `create table papers (id int primary key, body bytea, title text);
      create table hot (id int primary key, n bigint not null, far bigint not null);`,
  });
  [eu, us, ap] = ['eu', 'us', 'ap'].map((name) => cluster.region(name)) as [
    ClusterRegion,
    ClusterRegion,
    ClusterRegion,
  ];
  for (const rule of [
    { table: 'papers', columns: { body: 'yjs', title: 'lww-columns' } },
    { table: 'hot', columns: { n: 'counter', far: 'counter' } },
  ] as const) {
    const { version_id } = await registerMerge(eu, rule);
    await untilMerge(cluster.regions, version_id, 'active');
  }
});
after(async () => await cluster?.[Symbol.asyncDispose]());

const hexOf = (doc: Doc): string => `'\\x${Buffer.from(encodeStateAsUpdate(doc)).toString('hex')}'`;

/** The document as a region has it. */
async function read(region: ClusterRegion, id: number): Promise<Doc> {
  const body = await region.one(`select body from papers where id = ${id}`);
  const doc = new Doc();
  applyUpdate(doc, Buffer.from((body ?? '').slice(2), 'hex'));
  return doc;
}

/** What an editor does: reads the document, changes it, and writes it back whole. */
async function edit(region: ClusterRegion, id: number, change: (doc: Doc) => void): Promise<void> {
  const doc = await read(region, id);
  change(doc);
  await region.sql(`update papers set body = ${hexOf(doc)} where id = ${id}`);
}

async function setLinks(status: 'paused' | 'active'): Promise<void> {
  for (const target of cluster.regions)
    for (const source of cluster.regions) if (source !== target) await setLink(source.name, target, status);
}

test('a Yjs document that regions edit at once keeps every edit, and is the same everywhere', async () => {
  const begun = new Doc();
  begun.getText('body').insert(0, 'The fox runs.');
  await eu.sql(`insert into papers values (1, ${hexOf(begun)}, 'draft'), (2, ${hexOf(begun)}, 'draft')`);
  await cluster.settle();
  await setLinks('paused');
  await edit(eu, 1, (doc) => doc.getText('body').insert(4, 'quick '));
  await edit(us, 1, (doc) => doc.getText('body').insert(12, ' fast'));
  await edit(us, 1, (doc) => doc.getMap('seen').set('us', true));
  await edit(ap, 1, (doc) => doc.getMap('seen').set('ap', true));
  await ap.sql(`update papers set title = 'final' where id = 1`);
  // Many small edits on both sides, of one text.
  for (let at = 0; at < 20; at += 1) {
    await edit(eu, 2, (doc) => doc.getText('body').insert(0, `e${at};`));
    await edit(us, 2, (doc) => doc.getText('body').insert(doc.getText('body').length, `u${at};`));
  }
  await setLinks('active');
  await cluster.settle();
  const rows = await cluster.equal('select id, body, title from papers order by id');
  assert.deepEqual(
    rows.map(([, , title]) => title),
    ['final', 'draft'],
  );
  const first = await read(ap, 1);
  assert.equal(first.getText('body').toJSON(), 'The quick fox runs fast.');
  assert.deepEqual(first.getMap('seen').toJSON(), { us: true, ap: true });
  const second = (await read(ap, 2)).getText('body').toJSON();
  const parts = second.split('The fox runs.');
  assert.deepEqual(parts, [
    Array.from({ length: 20 }, (_, at) => `e${19 - at};`).join(''),
    Array.from({ length: 20 }, (_, at) => `u${at};`).join(''),
  ]);
  // An edit that has seen all of it goes on from there.
  await edit(ap, 1, (doc) => doc.getText('body').delete(0, 4));
  await cluster.settle();
  await cluster.equal('select body from papers');
  assert.equal((await read(eu, 1)).getText('body').toJSON(), 'quick fox runs fast.');
});

test('a row that its region writes all the time still takes what others change, and loses none of it', async (t) => {
  await eu.sql('insert into hot values (1, 0, 0)');
  await cluster.settle();
  const writer = await eu.session();
  const stopping = new AbortController();
  let writes = 0;
  const seen = new Set<string>();
  const writing = (async () => {
    for (let due = performance.now(); !stopping.signal.aborted; due += HOT_WRITES_MS) {
      const { rows } = await writer.queryArrays('update hot set n = n + 1 where id = 1 returning far');
      seen.add(String(rows[0]?.[0]));
      writes += 1;
      const restMs = due - performance.now();
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
      else due = performance.now();
    }
  })();
  writing.catch(() => undefined); // It is awaited below.
  try {
    // Each remote change has to show in the row, amid the local writes, before the next is made.
    for (let change = 1; change <= REMOTE_CHANGES; change += 1) {
      const before = writes;
      await (change % 2 === 0 ? us : ap).sql('update hot set far = far + 1 where id = 1');
      await waitFor(() => seen.has(String(change)), { what: `change ${change} to show`, limitMs: 60_000 });
      await waitFor(() => writes > before, { what: 'the row to be written meanwhile' });
    }
  } finally {
    stopping.abort();
    await writing;
    await writer.end();
  }
  assert.ok(writes > REMOTE_CHANGES);
  await cluster.settle();
  assert.deepEqual(await cluster.equal('select n, far from hot'), [[String(writes), String(REMOTE_CHANGES)]]);
  t.diagnostic(`${REMOTE_CHANGES} changes of other regions among ${writes} local writes; ${seen.size} states seen`);
});
