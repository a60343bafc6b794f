/**
 * Parked rows beyond the rule of who is parked: what operators see of them and decide about them, and that an agent which
 * dies before it has settled them does so after its start.
 */
import assert from 'node:assert/strict';
import type { ClusterRegion } from '../support/cluster.ts';
import { ends, image } from '../support/parked-rows.ts';
import { traps } from '../support/traps.ts';

type Listed = {
  readonly kind: string;
  readonly event_id: string;
  readonly row_pk: Readonly<Record<string, string | null>>;
  readonly blocker: readonly string[] | null;
  readonly image: Readonly<Record<string, string | null>> | null;
};

/** The quarantine list of a region, by key. */
async function listed(region: ClusterRegion, table: string): Promise<Listed[]> {
  const answer = await fetch(`${region.api}/quarantine?table=${table}`);
  assert.equal(answer.status, 200);
  const { items } = (await answer.json()) as { items: Listed[] };
  return items.sort((a, b) => Number(a.row_pk.id) - Number(b.row_pk.id));
}

async function post(
  region: ClusterRegion,
  path: string,
  body: unknown,
): Promise<{ status: number; body: Readonly<Record<string, unknown>> }> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(region.api + path, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: answer.status, body: (await answer.json()) as Readonly<Record<string, unknown>> };
}

traps('parked rows', { schema: 'create extension if not exists citext' }, (trap) => {
  trap(
    'what an operator discards or edits is so in every region, and listed as parked until then',
    'create table mended (id int primary key, u int unique, v varchar(3), j json)',
    async (world) => {
      const { eu, us, ap } = world;
      const query = 'select id, u, v, j from mended order by id';
      await world.apart(async () => {
        await eu.sql("insert into mended values (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')");
        await us.sql("insert into mended values (4, 1, 'd'), (5, 2, 'e'), (6, 3, 'f')");
      });
      await world.resumeAll();
      const rows = [
        ['4', '1', 'd', null],
        ['5', '2', 'e', null],
        ['6', '3', 'f', null],
      ];
      const third = [image({ id: '3', u: '3', v: 'c', j: null })];
      const parked = [
        [image({ id: '1', u: '1', v: 'a', j: null })],
        [image({ id: '2', u: '2', v: 'b', j: null })],
        third,
      ];
      await ends(world, 'mended', query, rows, parked);
      const lists = await Promise.all(world.regions.map(async (region) => await listed(region, 'mended')));
      for (const list of lists) {
        assert.deepEqual(
          list.map(({ kind, row_pk, blocker, image: row }) => [kind, row_pk.id, blocker, row?.v]),
          [
            ['parked', '1', ['4'], 'a'],
            ['parked', '2', ['5'], 'b'],
            ['parked', '3', ['6'], 'c'],
          ],
        );
      }
      const [first, second] = lists[0] ?? [];
      assert.ok(first !== undefined && second !== undefined);
      // In a region that wrote neither of the rows, and in one that wrote the parked one.
      for (const values of [{ u: 'seven' }, { v: 'long' }, { j: '{' }]) {
        const refused = await post(ap, '/quarantine/edit', { event_id: first.event_id, values });
        assert.deepEqual([refused.status, refused.body.code], [422, 'SYN-A021']);
      }
      const values = { u: ' 7', v: 'all', j: '{"a": "b"}' };
      const edited = await post(ap, '/quarantine/edit', { event_id: first.event_id, values });
      assert.deepEqual([edited.status, edited.body], [200, { edited: true }]);
      const discarded = await post(eu, '/quarantine/discard', { event_ids: [second.event_id] });
      assert.deepEqual(discarded.body, { discarded: 1 });
      await ends(world, 'mended', query, [['1', '7', 'all', '{"a": "b"}'], ...rows], [third]);
      // What is discarded stays so, though its value is free.
      await us.sql('delete from mended where id in (5, 6)');
      await ends(
        world,
        'mended',
        query,
        [
          ['1', '7', 'all', '{"a": "b"}'],
          ['3', '3', 'c', null],
          ['4', '1', 'd', null],
        ],
        [],
      );
      const gone = await post(us, '/quarantine/edit', { event_id: first.event_id, values: { u: '8' } });
      assert.deepEqual([gone.status, gone.body.code], [404, 'SYN-A020']);
    },
  );

  trap(
    'an agent that dies between parking and settling settles after its start',
    'create table restarted (id int primary key, u int unique)',
    async (world) => {
      const { eu, us, ap } = world;
      await world.apart(async () => {
        await eu.sql('insert into restarted values (1, 1)');
        await us.sql('insert into restarted values (2, 1)');
      });
      await world.resumeAll();
      await ends(world, 'restarted', 'select id from restarted', [['2']], [[image({ id: '1', u: '1' })]]);
      await ap.killAgent();
      await eu.sql('update restarted set u = 2 where id = 2');
      // The echo of a local write that nobody saw frees the value.
      await ap.sql('update restarted set u = 3 where id = 2');
      ap.startAgent();
      await ap.agentReady();
      await ends(
        world,
        'restarted',
        'select id, u from restarted order by id',
        [
          ['1', '1'],
          ['2', '3'],
        ],
        [],
      );
    },
  );
});
