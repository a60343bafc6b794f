// Tables of every kind under the apply port: keys that are refused, partitions, inheritance, generated
// and identity columns, odd names, definitions that change while a batch is on its way.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as statements from '../../src/apply/sql/sql-statements.ts';
import type { SqlTableShape } from '../../src/apply/sql/sql-table-shape.ts';
import { FACTS_OF_AUTHORS, FACTS_OF_ORIGINS } from '../../src/apply/sql/sql-tuple-facts.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import { connect, quoteIdent } from '../../src/platform/postgres.ts';
import { ApplyTarget, rowOf } from '../support/apply-target.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const ALL = { home: 'always', r1: 'always' } as const;
const NOW = hlcFromMicros(4_000_000_000_000_000n);

for (const version of CONTRACT_MAJORS) {
  describe(`tables on PostgreSQL ${version}`, () => {
    let server: PostgresServer;
    let target: ApplyTarget;
    before(async () => {
      server = await PostgresServer.start({ version });
      target = await ApplyTarget.start(server);
    });
    after(async () => {
      await target[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });

    test('keys that cannot be told by text, or not at all, are refused with their codes', async () => {
      await target.client.query(
        `create collation public.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create extension hstore schema public; create extension btree_gist schema public;
         create domain public.span as interval;
         create table public.no_key (id int, v text);
         create table public.unique_only (id int not null unique, v text);
         create table public.late (id int primary key deferrable);
         create table public.late_unique (id int primary key, v int unique deferrable initially deferred);
         create table public.late_exclusion (id int primary key, r int4range, exclude using gist (r with &&) deferrable);
         create table public.parted (id int primary key, v int) partition by range (id);
         create table public.parted_0 partition of public.parted for values from (0) to (10) partition by range (id);
         create table public.parted_00 partition of public.parted_0 for values from (0) to (5);
         create unique index on public.parted_00 (v);
         create table public.attached (id int primary key, v int) partition by range (id);
         create table public.attached_0 (id int primary key deferrable, v int);
         alter table public.attached attach partition public.attached_0 for values from (0) to (10)`,
      );
      const cases: [table: string, code: string][] = [
        ['no_key', 'SYN-P012'],
        ['unique_only', 'SYN-P012'],
        ['late', 'SYN-P013'],
        ['late_unique', 'SYN-P013'],
        ['late_exclusion', 'SYN-P013'],
        ['parted', 'SYN-P058'],
        ['attached', 'SYN-P058'],
      ];
      const types = ['interval', 'public.span', 'jsonb', 'timetz', 'text collate public.nocase', 'int[]', 'int4range'];
      for (const [place, type] of [...types, 'public.hstore'].entries()) {
        await target.client.query(`create table public.refused${place} (a int, id ${type}, primary key (a, id))`);
        cases.push([`refused${place}`, 'SYN-P017']);
      }
      if (version === 18) {
        await target.client.query(
          'create table public.overlaps (id int, r int4range, primary key (id, r without overlaps))',
        );
        cases.push(['overlaps', 'SYN-P017']);
      }
      for (const [table, code] of cases) await assert.rejects(target.port.shape('public', table), { code }, table);
    });

    test('what is no table of rows has no shape', async () => {
      await target.client.query(
        `create table public.real_one (id int primary key);
         create view public.a_view as select * from public.real_one;
         create materialized view public.a_matview as select * from public.real_one;
         create sequence public.a_sequence`,
      );
      for (const name of ['a_view', 'a_matview', 'a_sequence', 'real_one_pkey', 'nothing']) {
        assert.equal(await target.port.shape('public', name), null, name);
      }
      await using filtered = await ApplyTarget.start(server, { isReplicated: (_, table) => table !== 'real_one' });
      await filtered.client.query('create table public.real_one (id int primary key)');
      assert.equal(await filtered.port.shape('public', 'real_one'), null);
    });

    test('without a primary key the replica identity is the key, in the order of its index', async () => {
      await target.client.query(
        `create table public.by_identity (v text, a int not null, b text not null, unique (v));
         create unique index other_order on public.by_identity (b, a) include (v);
         alter table public.by_identity replica identity using index other_order`,
      );
      const shape = await target.shape('by_identity');
      assert.deepEqual([...shape.key], ['b', 'a']);
      const row = rowOf(shape, { a: '1', b: 'x', v: 'one' });
      await target.apply(async (t) => {
        await t.upsert(shape, [row], 'r1', ALL);
        await t.upsert(shape, [{ ...row, image: { ...row.image, v: 'two' } }], 'r1', ALL);
      });
      assert.deepEqual(await target.column('select v from public.by_identity'), ['two']);
    });

    test('a partitioned table is written through its root, guards included', async () => {
      await target.client.query(
        `create table public.parts (id int, day date, v text, primary key (day, id)) partition by range (day);
         create table public.parts_old partition of public.parts for values from (minvalue) to ('2024-01-01');
         create table public.parts_new partition of public.parts for values from ('2024-01-01') to (maxvalue)
           partition by list (id);
         create table public.parts_one partition of public.parts_new for values in (1, 3);
         create table public.parts_two partition of public.parts_new default`,
      );
      const shape = await target.shape('parts');
      const days = ['2023-01-01', '2024-05-05', '2025-01-01', '2025-06-01'];
      const rows = days.map((day, id) => rowOf(shape, { id: String(id), day, v: 'a' }));
      await target.client.query("insert into public.parts values (1, '2024-05-05', 'local')");
      await target.apply(async (t) => {
        assert.deepEqual(await t.upsert(shape, rows, 'r1', { r1: 'always' }), [1]);
      });
      await target.apply(async (t) => {
        const found = await t.inspect(shape, rows);
        assert.deepEqual(
          rows.map((row) => found.get(row.key)?.local),
          [false, true, false, false],
        );
        const [first, local, third] = rows;
        assert.ok(first !== undefined && local !== undefined && third !== undefined);
        await t.overwrite(shape, { ...local, image: { ...local.image, v: 'over' } });
        assert.equal(await t.insert(shape, first), false);
        assert.deepEqual(await t.remove(shape, [first, local], { r1: 'always' }), ['removed', 'removed']);
        await t.erase(shape, third);
        assert.deepEqual((await t.removeAll(shape, NOW, {})).left.length, 1);
        assert.deepEqual((await t.removeAll(shape, NOW, ALL)).removed, 1);
      });
      assert.deepEqual(await target.column('select count(*) from public.parts'), ['0']);
      // A partition is a table as well.
      assert.deepEqual([...(await target.shape('parts_one')).key], ['day', 'id']);
    });

    test('on a partitioned table too, an upsert waits for the foreground and judges the newest tuple', async () => {
      await using patient = await ApplyTarget.start(server, { lockTimeoutMs: 60_000 });
      await patient.client.query(
        `create table public.split (id int primary key, v text) partition by hash (id);
         create table public.split0 partition of public.split for values with (modulus 2, remainder 0);
         create table public.split1 partition of public.split for values with (modulus 2, remainder 1);
         insert into public.split select i, 'first' from generate_series(1, 4) as i`,
      );
      const shape = await patient.shape('split');
      const rows = [1, 2, 3, 4].map((id) => rowOf(shape, { id: String(id), v: 'applied' }, NOW));
      const [stamp] = await patient.column(
        'select max(extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint from public.split',
      );
      const pid = String(patient.port.processId);
      await patient.client.query("begin; update public.split set v = 'second' where id in (2, 3)");
      await patient.client.query('delete from public.split where id = 4');
      await patient.apply(async (t) => {
        const call = t.upsert(shape, rows, 'r1', { home: BigInt(stamp ?? 0) });
        await using observer = await connect(patient.url, { applicationName: 'observer' });
        const waits = "select from pg_stat_activity where pid = $1::int and wait_event_type = 'Lock'";
        await waitFor(async () => (await observer.query(waits, [pid])).rowCount === 1, { what: 'the upsert waits' });
        await patient.client.commit();
        assert.deepEqual(await call, [1, 2]);
      });
      const { rows: left } = await patient.client.queryArrays('select id, v from public.split order by id');
      assert.deepEqual(left, [
        ['1', 'applied'],
        ['2', 'second'],
        ['3', 'second'],
        ['4', 'applied'],
      ]);
    });

    test('tables that inherit keep their rows', async () => {
      await target.client.query(
        `create table public.parent (id int primary key, v text);
         create table public.child (extra text) inherits (public.parent);
         insert into public.parent values (1, 'parent'); insert into public.child values (1, 'child')`,
      );
      const shape = await target.shape('parent');
      const row = rowOf(shape, { id: '1', v: 'new' });
      await target.apply(async (t) => {
        await t.upsert(shape, [row], 'r1', ALL);
        assert.equal((await t.inspect(shape, [row])).size, 1);
        await t.overwrite(shape, row);
        assert.deepEqual(await t.removeAll(shape, NOW, {}), { removed: 1, left: [] });
        assert.deepEqual(await t.remove(shape, [row], ALL), ['absent']);
      });
      assert.deepEqual(await target.column('select v from public.child'), ['child']);
    });

    test('generated columns are computed here, and identity columns take what the origin gave', async () => {
      await target.client.query(
        `create table public.computed (id int generated always as identity primary key, n int not null default 7,
           twice int generated always as (n * 2) ${version === 18 ? 'virtual' : 'stored'})`,
      );
      const shape = await target.shape('computed');
      assert.deepEqual([...shape.columns], ['id', 'n']);
      const row = rowOf(shape, { id: '41', n: '4', twice: '99' });
      await target.apply(async (t) => {
        assert.deepEqual(await t.upsert(shape, [row, rowOf(shape, { id: '42' })], 'r1', ALL), []);
        assert.deepEqual(await t.upsert(shape, [{ ...row, image: { id: '41', n: '5' } }], 'r1', ALL), []);
        assert.deepEqual((await t.inspect(shape, [row])).get(row.key)?.image, { id: '41', n: '5' });
      });
      const rows = await target.client.queryArrays('select id, n, twice from public.computed order by id');
      assert.deepEqual(rows.rows, [
        ['41', '5', '10'],
        ['42', '7', '14'],
      ]);
    });

    test('an identity column outside of the key changes by writing the row anew', async () => {
      await target.client.query(
        `create table public.counted (id int primary key, no int generated always as identity, v text, w text);
         insert into public.counted (id, v, w) values (1, 'a', 'kept'), (2, 'a', 'kept')`,
      );
      const shape = await target.shape('counted');
      const [same, other] = [rowOf(shape, { id: '1', no: '1', v: 'b' }), rowOf(shape, { id: '2', no: '77', v: 'b' })];
      await target.apply(async (t) => {
        assert.deepEqual(await t.upsert(shape, [same, other], 'r1', ALL), [1]);
        await t.overwriteAll(shape, [other]);
        await t.overwriteAll(shape, [same, other]);
      });
      const { rows } = await target.client.queryArrays('select id, no, v, w from public.counted order by id');
      assert.deepEqual(rows, [
        ['1', '1', 'b', 'kept'],
        ['2', '77', 'b', 'kept'],
      ]);
    });

    test('a table of nothing but its key takes new stamps', async () => {
      await target.client.query(
        `create table public.pairs (a int, b int, primary key (a, b)); insert into public.pairs values (1, 2);
         create table public.numbers (id int generated always as identity primary key);
         insert into public.numbers default values`,
      );
      for (const [table, image, left] of [
        ['pairs', { a: '1', b: '2' }, []],
        ['numbers', { id: '1' }, [0]],
      ] as const) {
        const shape = await target.shape(table);
        const row = rowOf(shape, image);
        await target.apply(async (t) => {
          assert.deepEqual(await t.upsert(shape, [row], 'r1', ALL), left);
          if (left.length > 0) await t.overwriteAll(shape, [row]);
          assert.equal((await t.inspect(shape, [row])).get(row.key)?.own, true);
        });
      }
    });

    test('names may hold anything', async () => {
      const schema = 'Sch"ema.1';
      const table = `select "from" $1 'x' \\ ü`;
      const columns = ['ID', 'n', 'c1', 't', 'constructor', 'x1', 'sp ace', 'u"ote', '语', '__proto__'];
      const definitions = columns.map((name, place) => `${quoteIdent(name)} text${place === 0 ? ' primary key' : ''}`);
      await target.client.query(
        `create schema ${quoteIdent(schema)}; create table ${quoteIdent(schema)}.${quoteIdent(table)} (${definitions})`,
      );
      const shape = await target.shape(table, schema);
      assert.deepEqual([...shape.columns], columns);
      const full = rowOf(shape, Object.fromEntries(columns.map((name) => [name, `value of ${name}`])));
      const bare = rowOf(shape, { ID: 'bare' });
      await target.apply(async (t) => {
        assert.deepEqual(await t.upsert(shape, [full, bare], 'r1', ALL), []);
        assert.deepEqual(await t.upsert(shape, [full, bare], 'r1', ALL), []);
        await t.overwrite(shape, full);
        await t.putTombstones(shape, 'r1', []);
        assert.deepEqual((await t.inspect(shape, [full])).get(full.key)?.image, full.image);
        assert.equal((await t.inspect(shape, [bare])).get(bare.key)?.image.constructor, null);
        assert.deepEqual(await t.remove(shape, [full, bare], ALL), ['removed', 'removed']);
      });
    });

    test('a definition that changed since it was read fails the batch, which then goes by the new one', async () => {
      await target.client.query('create table public.changing (id int primary key, v int)');
      const changes = [
        'alter table public.changing alter column v type text',
        'alter table public.changing add column w text',
        'alter table public.changing rename column w to x',
        'alter table public.changing drop column x',
        'alter table public.changing drop constraint changing_pkey, add primary key (v)',
      ];
      for (const change of changes) {
        const stale = await target.shape('changing');
        const row = rowOf(stale, { id: '7', v: '007' });
        await target.apply(async (t) => {
          await t.upsert(stale, [row], 'r1', ALL);
          await t.inspect(stale, [row]);
        });
        await target.client.query(change);
        const failed = target.apply(async (t) => {
          await t.upsert(stale, [row], 'r1', ALL);
        });
        // The server itself refuses some; what it would take silently is told by the port.
        const isTold = (error: Error & { code?: string }): boolean =>
          error.code === 'SYN-A009' || ['42703', '42P10', '0A000'].includes(sqlStateOf(error) ?? '');
        await assert.rejects(failed, isTold, change);
        target.port.forgetShapes();
        const fresh = await target.shape('changing');
        assert.notDeepEqual((fresh as SqlTableShape).definition, (stale as SqlTableShape).definition);
        const again = rowOf(fresh, { id: '7', v: '007' });
        await target.apply(async (t) => {
          assert.deepEqual(await t.upsert(fresh, [again], 'r1', ALL), []);
          assert.equal((await t.inspect(fresh, [again])).get(again.key)?.image.v, '007');
        });
      }
      assert.deepEqual(await target.column('select v from public.changing'), ['007']);
    });

    test('a partition that gets a deferrable constraint has its table read anew, and refused for as long', async () => {
      await target.client.query(
        `create table public.later (id int primary key, v text) partition by range (id);
         create table public.later_0 partition of public.later for values from (0) to (10)`,
      );
      const write = async (): Promise<void> => {
        const shape = await target.shape('later');
        await target.apply(async (t) => {
          await t.upsert(shape, [rowOf(shape, { id: '7', v: '7' })], 'r1', ALL);
        });
      };
      await write();
      await write();
      await target.client.query('alter table public.later_0 add unique (v) deferrable');
      await assert.rejects(write(), { code: 'SYN-A009' });
      await assert.rejects(write(), { code: 'SYN-P058' });
      await target.client.query('alter table public.later_0 drop constraint later_0_v_key');
      await write();
    });

    test('plans look rows up one by one, in their order, however small the table was', async () => {
      await using session = await ApplyTarget.start(server);
      await session.client.query(
        `set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
         set plan_cache_mode = force_generic_plan`,
      );
      const guard = ['infinity', '{0}', '{infinity}'];
      await session.client.query(
        `insert into syncline.author select i::text::xid8, i::text::xid, 'r1', now(), '0/1' from generate_series(1000, 3000) as i`,
      );
      for (const [place, rows] of [0, 1, 3, 500].entries()) {
        const table = `sized${place}`;
        await session.client.query(`create table public.${table} (a int, b text, v text, primary key (a, b))`);
        await session.client.query(`create index on public.${table} (b)`);
        await session.client.query(
          `insert into public.${table} select i, 'b', 'v' from generate_series(1, ${rows}) as i`,
        );
        await session.client.query(`vacuum analyze public.${table}`);
        const shape = (await session.shape(table)) as SqlTableShape;
        const keys = ['{1}', '{b}'];
        const row = ['1', '["1","b"]', '{1}', 'r1', ...keys, '{v}'];
        const withFacts = [FACTS_OF_ORIGINS, FACTS_OF_AUTHORS].flatMap(
          (facts) =>
            [
              ...(['update', 'insert'] as const).map(
                (first) => [statements.upsertSql(shape, shape.columns, first, facts), [...guard, ...row]] as const,
              ),
              [statements.removeSql(shape, facts), [...guard, '1', ...keys]],
              [statements.inspectSql(shape, facts), keys],
            ] as const,
        );
        for (const [sql, values] of withFacts) {
          await session.client.query(`prepare p as ${sql}`);
          const parameters = values.map((value) => `'${value}'`).join(', ');
          const plan = (await session.column(`explain (costs off) execute p (${parameters})`)).join('\n');
          await session.client.query('deallocate p');
          assert.doesNotMatch(plan, /Seq Scan|Hash Join|Merge Join/);
          const joins = plan.match(/Nested Loop\n[^\n]*\n?[^\n]*/g) ?? [];
          assert.ok(joins.length > 0);
          for (const join of joins) assert.match(join, /^Nested Loop\n +-> +(Function|Subquery) Scan on/, plan);
        }
      }
    });
  });
}
