import { ends, image } from '../support/parked-rows.ts';
import { DEFAULT_MAJOR } from '../support/postgres-majors.ts';
import { traps } from '../support/traps.ts';
import { waitFor } from '../support/wait-for.ts';

/** Before 15, only an expression makes NULLs equal. */
const NULLS_ALIKE =
  DEFAULT_MAJOR >= 15
    ? 'alter table by_null add unique nulls not distinct (a, b)'
    : 'create unique index on by_null (coalesce(a, -1), coalesce(b, -1))';

traps('parked rows', { schema: 'create extension if not exists citext' }, (trap) => {
  trap(
    'of two rows that were moved onto one unique value the later one has it, and the other comes back when it moves off',
    'create table users (id int primary key, email text unique, name text)',
    async (world) => {
      const { eu, us, ap } = world;
      const query = 'select id, email, name from users order by id';
      await eu.sql("insert into users values (1, 'one', 'a'), (2, 'two', 'b')");
      await world.apart(async () => {
        await eu.sql("update users set email = 'same' where id = 1");
        await us.sql("update users set email = 'same' where id = 2");
      });
      await world.resumeAll();
      const lower = image({ id: '1', email: 'same', name: 'a' });
      await ends(world, 'users', query, [['2', 'same', 'b']], [[lower]]);
      // Whoever moves it: here a region that wrote neither of the two.
      await ap.sql("update users set email = 'other' where id = 2");
      await ends(
        world,
        'users',
        query,
        [
          ['1', 'same', 'a'],
          ['2', 'other', 'b'],
        ],
        [],
      );
    },
  );

  trap(
    'later events of a parked row follow it, and its removal drops it',
    'create table follows (id int primary key, u int unique, v text)',
    async (world) => {
      const { eu, us, ap } = world;
      const query = 'select id, u, v from follows order by id';
      await world.apart(async () => {
        await eu.sql("insert into follows values (1, 1, 'a')");
        await us.sql("insert into follows values (2, 1, 'b')");
      });
      // A region that hears of the second later writes to the first one meanwhile, and takes the value back by that.
      await world.resume('eu:ap');
      await world.arrived(eu, ap);
      await ap.sql("update follows set v = 'later' where id = 1");
      await world.resumeAll();
      await ends(world, 'follows', query, [['1', '1', 'later']], [[image({ id: '2', u: '1', v: 'b' })]]);
      // What is parked can be inserted anew by its key, with another value: then it is that row.
      await us.sql("insert into follows values (2, 2, 'again')");
      await ends(
        world,
        'follows',
        query,
        [
          ['1', '1', 'later'],
          ['2', '2', 'again'],
        ],
        [],
      );
      await world.apart(async () => {
        await eu.sql("update follows set u = 3, v = 'x' where id = 1");
        await us.sql("update follows set u = 3, v = 'y' where id = 2");
      });
      await world.resumeAll();
      await ends(world, 'follows', query, [['2', '3', 'y']], [[image({ id: '1', u: '3', v: 'x' })]]);
      await ap.sql('truncate follows');
      await ends(world, 'follows', query, [], []);
    },
  );

  trap(
    'a row that takes the key of one row and the unique value of another',
    'create table two_ways (id int primary key, u int unique, v text)',
    async (world) => {
      const { eu, us } = world;
      const query = 'select id, u, v from two_ways order by id';
      await eu.sql("insert into two_ways values (2, 2, 'two')");
      await world.settle();
      await world.apart(async () => {
        await eu.sql("insert into two_ways values (1, 1, 'eu')");
        await us.sql("insert into two_ways values (1, 7, 'us')");
        await eu.sql('update two_ways set u = 7 where id = 2');
        await us.sql('update two_ways set u = 8 where id = 2');
      });
      await world.resumeAll();
      await ends(
        world,
        'two_ways',
        query,
        [
          ['1', '7', 'us'],
          ['2', '8', 'two'],
        ],
        [],
      );
    },
  );

  trap(
    'a chain over two unique keys: the highest frees what the middle one had for the lowest',
    'create table chain (id int primary key, u int unique, w int unique)',
    async (world) => {
      const { eu, us, ap } = world;
      const query = 'select id, u, w from chain order by id';
      await world.apart(async () => {
        await eu.sql('insert into chain values (1, null, 2)');
        await us.sql('insert into chain values (2, 1, 2)');
        await ap.sql('insert into chain values (3, 1, null)');
      });
      await world.resumeAll();
      const middle = image({ id: '2', u: '1', w: '2' });
      await ends(
        world,
        'chain',
        query,
        [
          ['1', null, '2'],
          ['3', '1', null],
        ],
        [[middle]],
      );
      await eu.sql('delete from chain where id = 3');
      await ends(world, 'chain', query, [['2', '1', '2']], [[image({ id: '1', u: null, w: '2' })]]);
      await us.sql('update chain set w = 3 where id = 2');
      await ends(
        world,
        'chain',
        query,
        [
          ['1', null, '2'],
          ['2', '1', '3'],
        ],
        [],
      );
    },
  );

  trap(
    'unique values that are swapped in one transaction arrive, beside whatever else',
    'create table swapped (id int primary key, u int unique)',
    async (world) => {
      const { eu, us } = world;
      const query = 'select id, u from swapped order by id';
      await eu.sql('insert into swapped values (1, 1), (2, 2), (3, 3)');
      await world.settle();
      for (const region of [eu, us]) {
        await region.sql(`begin; update swapped set u = -1 where id = 1; update swapped set u = 1 where id = 2;
          update swapped set u = 2 where id = 1; insert into swapped values (4, 4) on conflict do nothing; commit`);
        await world.settle();
      }
      await ends(
        world,
        'swapped',
        query,
        [
          ['1', '2'],
          ['2', '1'],
          ['3', '3'],
          ['4', '4'],
        ],
        [],
      );
      await world.apart(async () => {
        await eu.sql(`begin; update swapped set u = -1 where id = 1; update swapped set u = 2 where id = 2;
          update swapped set u = 1 where id = 1; commit`);
        await us.sql(`begin; update swapped set u = -1 where id = 2; update swapped set u = 1 where id = 3;
          update swapped set u = 3 where id = 2; commit`);
      });
      await world.resumeAll();
      // The later one gave 3 to the row 2, and 1 to the row 3: there is none left for the row 1, and nobody has 2.
      await ends(
        world,
        'swapped',
        query,
        [
          ['2', '3'],
          ['3', '1'],
          ['4', '4'],
        ],
        [[image({ id: '1', u: '1' })]],
      );
      await us.sql('delete from swapped where id = 3');
      await ends(
        world,
        'swapped',
        query,
        [
          ['1', '1'],
          ['2', '3'],
          ['4', '4'],
        ],
        [],
      );
    },
  );

  trap(
    'users who claim the values and keys of parked rows while they are on their way',
    'create table hot (id int primary key, u int unique, v text)',
    async (world) => {
      const rounds = 40;
      const writes = world.regions.map(async (region, place) => {
        const session = await region.session();
        for (let round = 0; round < rounds; round += 1) {
          const id = (round + place) % 5;
          const u = (round * (place + 1)) % 4;
          const statements = [
            `insert into hot values (${id}, ${u}, '${region.name} ${round}') on conflict do nothing`,
            `update hot set u = ${u}, v = '${region.name} ${round}' where id = ${id}
               and not exists (select from hot where u = ${u} and id <> ${id})`,
            ...(round % 7 === 3 ? [`delete from hot where id = ${id}`] : []),
          ];
          for (const sql of statements) await session.query(sql).catch(() => undefined);
        }
        await session.end();
      });
      await Promise.all(writes);
      await world.settle();
      const state =
        "select 'visible', id, u, v, null from hot union all select 'parked', (image ->> 'id')::int, (image ->> 'u')::int, image ->> 'v', origin from syncline.parked where table_name = 'hot' order by 1, 2";
      await waitFor(
        async () => {
          const told = await Promise.all(world.regions.map(async (region) => JSON.stringify(await region.sql(state))));
          return told.every((each) => each === told[0]);
        },
        { what: 'all regions to hold and park the same rows' },
      );
    },
  );

  trap(
    'what conflicts is told by the index: expressions, predicates, NULLs, citext, included columns, generated ones, ranges',
    `create table by_expression (id int primary key, email text, tag text generated always as (upper(email)) stored);
     create unique index on by_expression (lower(email)) where id < 100;
     create unique index on by_expression (tag) include (email) where id >= 100;
     create table by_null (id int primary key, a int, b int); ${NULLS_ALIKE};
     create table by_citext (id int primary key, name citext unique);
     create table by_range (id int primary key, during int4range, exclude using gist (during with &&))`,
    async (world) => {
      const { eu, us } = world;
      await world.apart(async () => {
        await eu.sql("insert into by_expression values (1, 'Ann'), (2, 'bob'), (100, 'cid'), (101, 'Dee')");
        await us.sql("insert into by_expression values (3, 'aNN'), (4, 'cid'), (102, 'DEE'), (103, 'bob')");
        await eu.sql('insert into by_null values (1, 1, null), (2, 2, 2), (3, null, null)');
        await us.sql('insert into by_null values (4, 1, null), (5, 2, 3), (6, null, 1)');
        await eu.sql("insert into by_citext values (1, 'Ann'), (2, 'b')");
        await us.sql("insert into by_citext values (3, 'ANN'), (4, 'c')");
        await eu.sql("insert into by_range values (1, '[1,5)'), (2, '[5,9)')");
        await us.sql("insert into by_range values (3, '[4,5)'), (4, '[9,10)')");
      });
      await world.resumeAll();
      await ends(
        world,
        'by_expression',
        'select id, email from by_expression order by id',
        [
          ['2', 'bob'],
          ['3', 'aNN'],
          ['4', 'cid'],
          ['100', 'cid'],
          ['102', 'DEE'],
          ['103', 'bob'],
        ],
        [[image({ id: '1', email: 'Ann' })], [image({ id: '101', email: 'Dee' })]],
      );
      await ends(
        world,
        'by_null',
        'select id from by_null order by id',
        [['2'], ['3'], ['4'], ['5'], ['6']],
        [[image({ id: '1', a: '1', b: null })]],
      );
      await ends(
        world,
        'by_citext',
        'select id from by_citext order by id',
        [['2'], ['3'], ['4']],
        [[image({ id: '1', name: 'Ann' })]],
      );
      await ends(
        world,
        'by_range',
        'select id from by_range order by id',
        [['2'], ['3'], ['4']],
        [[image({ id: '1', during: '[1,5)' })]],
      );
      for (const table of ['by_expression', 'by_null', 'by_citext', 'by_range']) await us.sql(`delete from ${table}`);
      await ends(world, 'by_expression', 'select id from by_expression order by id', [['1'], ['101']], []);
      await ends(world, 'by_null', 'select id from by_null order by id', [['1']], []);
      await ends(world, 'by_citext', 'select id from by_citext order by id', [['1']], []);
      await ends(world, 'by_range', 'select id from by_range order by id', [['1']], []);
    },
  );
});
