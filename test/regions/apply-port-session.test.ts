// The apply port's session: origins, privileges, loss, what is kept between batches and pruned.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ConflictEntry } from '../../src/apply/apply-port.ts';
import { REDACTED } from '../../src/apply/redaction.ts';
import { SqlApplyPort } from '../../src/apply/sql/sql-apply-port.ts';
import { PREPARE_SESSION, SqlPipeline, writeAlone } from '../../src/apply/sql/sql-pipeline.ts';
import { eventId } from '../../src/change/event-id.ts';
import { hlcFromMicros } from '../../src/change/hlc.ts';
import { makePosition, type Position } from '../../src/change/position.ts';
import type { NoteRow } from '../../src/clock/note-store.ts';
import { SqlNoteStore } from '../../src/clock/sql-note-store.ts';
import { replicaGrant } from '../../src/monitor/checks/role-checks.ts';
import { isInfrastructure, sqlStateOf } from '../../src/platform/errors.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect } from '../../src/platform/postgres.ts';
import { ApplyTarget, rowOf } from '../support/apply-target.ts';
import { ORIGINS_MAX } from '../support/postgres-majors.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

const ALL = { home: 'always', r1: 'always', r2: 'always' } as const;
const SYNTAX_ERROR = '42601';
const STAMP = 1_700_000_000_000_000n;
const HLC = hlcFromMicros(STAMP);

function at(lsn: number): Position {
  return makePosition('0000000000000000001', BigInt(lsn));
}

function idOf(lsn: number): string {
  return eventId(HLC, 'r1', at(lsn), 0);
}

describe('the session of the apply port', () => {
  let server: PostgresServer;
  before(async () => {
    // Every database of the cluster has its own origins.
    server = await PostgresServer.start({ settings: { [ORIGINS_MAX]: '60' } });
  });
  after(() => server[Symbol.asyncDispose]());

  async function start(): Promise<ApplyTarget> {
    const target = await ApplyTarget.start(server);
    await target.client.query('create table public.kv (id int primary key, v text)');
    return target;
  }

  test('an origin that another backend holds is told with its code, and free again once that is gone', async () => {
    await using target = await start();
    const zombie = await SqlApplyPort.connect(target.url, { region: 'home' });
    await (await zombie.begin('r1', STAMP)).commit();
    const refused = target.port.begin('r1', STAMP);
    await assert.rejects(refused, (error) => isInfrastructure(error) && sqlStateOf(error) === '55006');
    await assert.rejects(target.port.begin('r1', STAMP), { code: 'SYN-K004' });
    await target.client.query('select pg_terminate_backend($1::int)', [String(zombie.processId)]);
    await waitFor(
      async () => {
        await (await target.port.begin('r1', STAMP)).rollback();
        return zombie.lost.aborted;
      },
      { what: 'the origin is free' },
    );
  });

  test('where a transaction does not begin, nothing that was sent behind its beginning is written', async () => {
    await using target = await start();
    await using client = await connect(target.url, { applicationName: 'lane' });
    await client.query(PREPARE_SESSION);
    const pipeline = new SqlPipeline(client);
    // The server reads all of the text before it runs any of it, so not even BEGIN is run.
    pipeline.begin('no statement', (cause) => cause);
    const writing = pipeline.run("insert into public.kv values (1, 'stray')");
    const committing = pipeline.commit();
    for (const sent of await Promise.allSettled([writing, committing])) {
      assert.ok(sent.status === 'rejected');
      const { code, cause } = sent.reason as { code: string; cause?: { code: string } };
      assert.equal(code === 'SYN-A002' ? cause?.code : code, SYNTAX_ERROR);
    }
    assert.deepEqual((await client.query('select from public.kv')).rows, []);
    const written = await writeAlone(client, "insert into public.kv values (1, 'alone') returning v", []);
    assert.deepEqual(written.rows, [['alone']]);
    await assert.rejects(writeAlone(client, "insert into public.kv values (1, 'twice')", []), { code: '23505' });
    assert.deepEqual((await client.queryArrays('select v from public.kv')).rows, [['alone']]);
  });

  test('outside of transactions the session refuses to write', async () => {
    await using target = await start();
    await target.client.query(`
      create function public.writes() returns int language sql as 'insert into public.kv values (1) returning id';
      alter table syncline.applied rename to kept;
      create view syncline.applied as select * from public.writes() left join syncline.kept on true`);
    await assert.rejects(target.port.loadMarks(), { code: '25006' });
    assert.deepEqual((await target.client.query('select from public.kv')).rows, []);
  });

  test('values of withheld columns are written by no way to a conflict record, and the record says which they are', async () => {
    await using target = await ApplyTarget.start(server, { redact: ['public.kv.v', 'public.kv.w'] });
    const entry: ConflictEntry = {
      conflict_id: idOf(1),
      event_id_a: idOf(1),
      event_id_b: idOf(2),
      schema_name: 'public',
      table_name: 'kv',
      row_pk: { id: '1' },
      resolution_strategy: 'lww',
      merge_version: null,
      winner_event_id: idOf(2),
      loser: { hlc: HLC, origin: 'r1' },
      winner: { hlc: (HLC + 1n) as typeof HLC, origin: 'r2' },
      image_a: { id: '1', v: 'secret' },
      image_b: null,
      base_image: { id: '1', v: null },
      result_image: null,
      provisional: true,
      provisional_reason: null,
    };
    const stored = async (): Promise<unknown> =>
      (
        await target.client.queryArrays(
          `select image_a->>'v', image_b->>'w', base_image->>'v', result_image->>'w', redacted from syncline.conflict_log`,
        )
      ).rows;
    await target.apply(async (transaction) => await transaction.recordConflicts([entry]));
    assert.deepEqual(await stored(), [[REDACTED, null, REDACTED, null, '{v}']]);
    // A winner whose loser is unknown: what was known of that stays, with its columns.
    const image = { id: '1', w: 'secret' };
    const higher = { hlc: (HLC + 2n) as typeof HLC, origin: 'r2' };
    const rest = { image_a: null, image_b: image, base_image: null, result_image: image };
    await target.apply(async (transaction) => {
      await transaction.recordConflicts([{ ...entry, ...rest, event_id_a: null, winner: higher }]);
    });
    assert.deepEqual(await stored(), [[REDACTED, REDACTED, REDACTED, REDACTED, '{v,w}']]);
    await target.port.putConflicts([
      { ...entry, image_a: null, base_image: null, result_image: image, provisional: false },
    ]);
    assert.deepEqual(await stored(), [[null, null, null, REDACTED, '{w}']]);
  });

  test('what another tool applies here is a local write', async () => {
    await using target = await start();
    await using tool = await connect(target.url, { applicationName: 'tool' });
    await tool.query(
      "select pg_replication_origin_create('other_tool'), pg_replication_origin_session_setup('other_tool')",
    );
    await tool.query(
      `begin; select pg_replication_origin_xact_setup('0/1', '2001-02-03');
       insert into public.kv values (1, 'tool'); commit`,
    );
    const shape = await target.shape('kv');
    const row = rowOf(shape, { id: '1', v: 'new' });
    await target.apply(async (t) => {
      const tuple = (await t.inspect(shape, [row])).get(row.key);
      assert.deepEqual([tuple?.writer, tuple?.local], ['home', true]);
      assert.equal(tuple?.stampMicros, BigInt(Date.UTC(2001, 1, 3)) * 1000n);
      assert.deepEqual(await t.upsert(shape, [row], 'r1', { r1: 'always', home: 'never' }), [0]);
      assert.deepEqual(await t.upsert(shape, [row], 'r1', { r1: 'never', home: 'always' }), []);
    });
    await tool.query("select pg_replication_origin_session_reset(), pg_replication_origin_drop('other_tool')");
  });

  test('origins of another database of the cluster are none of ours', async () => {
    await using one = await start();
    await using two = await start();
    for (const target of [one, two]) {
      const shape = await target.shape('kv');
      const row = rowOf(shape, { id: '1', v: 'x' });
      await target.apply(async (t) => {
        await t.upsert(shape, [row], 'r1', ALL);
      });
      await target.apply(async (t) => {
        assert.equal((await t.inspect(shape, [row])).get(row.key)?.writer, 'r1');
      });
    }
    const names = await one.column("select roname from pg_replication_origin where roname ~ '^syncline_\\d+_r1$'");
    assert.ok(names.length >= 2);
  });

  test('a role needs no superuser, and what it lacks is told by a code each', async () => {
    await using target = await start();
    await target.client.query(
      `create role agent login replication password 'agent'; grant create on database ${
        (await target.column('select quote_ident(current_database())'))[0]
      } to agent; grant select, insert, update, delete, truncate on public.kv to agent`,
    );
    const url = new URL(target.url);
    url.username = 'agent';
    url.password = 'agent';
    await target.client.query('drop schema syncline cascade');
    await using own = await connect(url.href, { applicationName: 'agent' });
    await migrate(own);
    const refused = SqlApplyPort.connect(url.href, { region: 'home' });
    await assert.rejects(refused, { code: 'SYN-P005' });
    const grant = replicaGrant({ name: 'agent', version_num: server.version * 10_000, database: 'this one' });
    for (const line of grant.split('\n')) if (!line.startsWith('--')) await target.client.query(line);
    await using port = await SqlApplyPort.connect(url.href, { region: 'home' });
    await assert.rejects(port.begin('r1', STAMP), { code: 'SYN-P006' });
    for (const call of ['create(text)', 'session_setup(text)', 'session_reset()', 'xact_setup(pg_lsn, timestamptz)']) {
      await target.client.query(`grant execute on function pg_replication_origin_${call} to agent`);
    }
    const shape = await port.shape('public', 'kv');
    assert.ok(shape !== null);
    const transaction = await port.begin('r1', STAMP);
    const row = rowOf(shape, { id: '1', v: 'x' });
    const noted = { origin: 'r1', seen: { r1: at(1) }, max_hlc: HLC };
    const mark = { origin: 'r1', position: at(1), event_id: idOf(1), log_offset: 1 };
    await Promise.all([
      transaction.upsert(shape, [row], 'r1', ALL),
      transaction.putLooks([
        { table: shape, key: row.key, pk: row.pk, version: { hlc: HLC, origin: 'r1' }, restores: null },
      ]),
      transaction.recordVersions(shape, [{ key: row.key, hlc: HLC, position: at(1), event_id: idOf(1) }]),
      transaction.advanceMark(null, mark),
      transaction.note(noted),
      transaction.commit(),
    ]);
    assert.deepEqual(await target.column('select v from public.kv'), ['x']);
  });

  test('commit timestamps that are not kept are told at once', async () => {
    await using other = await PostgresServer.start({ settings: { track_commit_timestamp: 'off' } });
    await assert.rejects(SqlApplyPort.connect(other.url(), { region: 'home' }), { code: 'SYN-P002' });
  });

  test('a connection that is lost fails what is on its way, and takes nothing of it', async () => {
    await using target = await start();
    const shape = await target.shape('kv');
    const transaction = await target.port.begin('r1', STAMP);
    await transaction.upsert(shape, [rowOf(shape, { id: '1', v: 'x' })], 'r1', ALL);
    await target.client.query('select pg_terminate_backend($1::int)', [String(target.port.processId)]);
    await waitFor(() => target.port.lost.aborted, { what: 'the loss is noticed' });
    await assert.rejects(transaction.commit(), isInfrastructure);
    await assert.rejects(target.port.begin('r1', STAMP), isInfrastructure);
    assert.deepEqual(await target.column('select * from public.kv'), []);
  });

  test('exact versions are the same from memory and from the database', async () => {
    await using target = await start();
    const shape = await target.shape('kv');
    const rows = Array.from({ length: 300 }, (_, id) => rowOf(shape, { id: String(id), v: 'x' }));
    const entries = rows.map(({ key }, place) => ({
      key,
      hlc: HLC + BigInt(place),
      position: at(place + 1),
      event_id: idOf(place + 1),
    }));
    const { xid } = await target.apply(async (t) => {
      await t.upsert(shape, rows, 'r1', ALL);
      await t.recordVersions(shape, entries);
      return await t.note({ origin: 'r1', seen: {}, max_hlc: HLC });
    });
    const wanted = rows.map(({ key }) => ({ key, xid }));
    const read = async (port: SqlApplyPort): Promise<unknown> => {
      const t = await port.begin('r1', STAMP);
      const found = await t.exactVersions(shape, wanted);
      await t.rollback();
      return entries.map(({ key }) => {
        const { hlc, position, event_id } = found.get(key) ?? assert.fail(key);
        return { key, hlc, position, event_id };
      });
    };
    assert.deepEqual(await read(target.port), entries);
    await target.port[Symbol.asyncDispose]();
    await using fresh = await SqlApplyPort.connect(target.url, { region: 'home' });
    assert.deepEqual(await read(fresh), entries);
    assert.equal((await target.column('select count(*) from syncline.row_version'))[0], '1');
  });

  test('notes are read around a place, in WAL order, and pruned behind it', async () => {
    await using target = await start();
    const store = new SqlNoteStore(target.client);
    const around = async (lsn: bigint, limit: number) => (await store.around(lsn, limit)).rows;
    assert.deepEqual([(await store.newest()).rows, await around(0n, 9)], [[], []]);
    const notes: NoteRow[] = [];
    let end = 0n;
    for (const n of [1, 2, 3, 4]) {
      const left = { seen: { r1: at(n) }, max_hlc: HLC + BigInt(n) };
      const { lsn } = await target.apply((t) => t.note({ origin: `r${n}`, ...left }));
      notes.push({ lsn, ...left });
      const newest = await store.newest();
      assert.deepEqual(newest.rows, notes.slice(-1));
      assert.ok(newest.end > lsn && newest.end >= end, 'the WAL goes on');
      ({ end } = newest);
    }
    const [, second, , last] = notes;
    assert.ok(second !== undefined && last !== undefined);
    assert.deepEqual(await around(0n, 9), notes);
    assert.deepEqual(await around(0n, 2), notes.slice(0, 2));
    assert.deepEqual(await around(second.lsn, 2), notes.slice(0, 3), 'the one below is beside those asked for');
    assert.deepEqual(await around(second.lsn + 1n, 9), notes.slice(1));
    assert.deepEqual(await around(last.lsn + 1n, 9), notes.slice(3));
    assert.ok((await store.around(second.lsn, 1)).end > last.lsn, 'whatever is read');
    await target.port.prune(0n, { confirmedLsn: second.lsn - 1n, echoedLsn: 0n }, 10);
    assert.deepEqual(await around(0n, 9), notes);
    await target.port.prune(0n, { confirmedLsn: second.lsn, echoedLsn: 0n }, 10);
    assert.deepEqual(await around(0n, 9), notes, 'a transaction may commit where a batch is noted');
    await target.port.prune(0n, { confirmedLsn: last.lsn + 1n, echoedLsn: 0n }, 2);
    assert.deepEqual(await around(0n, 9), notes.slice(2), 'a step is bounded');
    await target.port.prune(0n, { confirmedLsn: last.lsn + 1n, echoedLsn: 0n }, 2);
    assert.deepEqual(await around(0n, 9), notes.slice(3), 'the newest stays');
  });

  test('notes that the slot may still need stay, whatever the server before had published', async () => {
    await using target = await start();
    const slot = `slot_of_${new URL(target.url).pathname.slice(1)}`;
    const notes: { lsn: bigint }[] = [];
    for (const n of [1, 2, 3, 4]) {
      if (n === 3) await target.client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
      notes.push(await target.apply((t) => t.note({ origin: 'us', seen: {}, max_hlc: HLC + BigInt(n) })));
    }
    try {
      const left = async (name: string) => {
        await using port = await SqlApplyPort.connect(target.url, { region: 'home', slot: name });
        await port.prune(0n, { confirmedLsn: 2n ** 60n, echoedLsn: 0n }, 10);
        return (await new SqlNoteStore(target.client).around(0n, 9)).rows;
      };
      assert.equal((await left('not_made_yet')).length, 4);
      const rows = await left(slot);
      assert.deepEqual(
        rows.map(({ lsn }) => lsn),
        notes.slice(1).map(({ lsn }) => lsn),
      );
    } finally {
      await target.client.query('select pg_drop_replication_slot($1)', [slot]);
    }
  });

  test('a step of pruning is bounded', async () => {
    await using target = await start();
    const shape = await target.shape('kv');
    for (const n of [1, 2, 3]) {
      await target.apply(async (t) => {
        const entry = { key: `["${n}"]`, hlc: HLC, position: at(n), event_id: idOf(n) };
        await Promise.all([t.putTombstones(shape, 'r1', [entry]), t.recordVersions(shape, [entry])]);
      });
    }
    const counts = async (): Promise<unknown[]> => [
      ...(await target.column('select count(*) from syncline.tombstone')),
      ...(await target.column('select count(*) from syncline.row_version')),
    ];
    await target.port.prune(HLC, { confirmedLsn: 0n, echoedLsn: 0n }, 2);
    assert.deepEqual(await counts(), ['1', '1']);
    await target.port.prune(HLC, { confirmedLsn: 0n, echoedLsn: 0n }, 2);
    assert.deepEqual(await counts(), ['0', '0']);
  });

  test('the lane looks for deadlocks soon, writes as a replica and waits for the disk only where it is told to', async () => {
    await using target = await start();
    await target.client.query(
      `create function public.tell() returns trigger language plpgsql as $$
       begin raise exception 'fired'; end $$;
       create trigger tell before insert on public.kv for each row execute function public.tell();
       create table public.settings (id int primary key, v text default concat_ws(' ',
         current_setting('session_replication_role'), current_setting('synchronous_commit'),
         current_setting('lock_timeout'), current_setting('deadlock_timeout')))`,
    );
    const [kv, settings] = [await target.shape('kv'), await target.shape('settings')];
    await target.apply(async (t) => {
      await t.upsert(kv, [rowOf(kv, { id: '1', v: 'x' })], 'r1', ALL);
      await t.upsert(settings, [rowOf(settings, { id: '1' })], 'r1', ALL);
    });
    const durable = await target.port.begin('r1', STAMP, 'durable');
    await durable.upsert(settings, [rowOf(settings, { id: '2' })], 'r1', ALL);
    await durable.commit();
    await target.apply(async (t) => void (await t.upsert(settings, [rowOf(settings, { id: '3' })], 'r1', ALL)));
    const expected = ['off', 'local', 'off'].map((flush) => `replica ${flush} 100ms 10ms`);
    assert.deepEqual(await target.column('select v from public.settings order by id'), expected);
  });
});
