// The commands by which an operator watches and steers an agent, against its API.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { AgentStatus } from '../../src/monitor/agent-status.ts';
import { ApiFixture } from '../support/api-fixture.ts';
import { run, start } from '../support/command.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { waitFor } from '../support/wait-for.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

/** Runs a command that has to succeed; gives what it printed. */
async function printed(fixture: ApiFixture, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run([...args, '--api', fixture.api.url]);
  assert.equal(code, 0, stdout + stderr);
  assert.equal(stderr, '');
  return stdout;
}

async function quarantine({ client }: ApiFixture, count: number): Promise<string[]> {
  const { rows } = await client.query(
    `insert into syncline.quarantine (event_id, origin, schema_name, table_name, key, row_pk, hlc, position, event, sqlstate, error)
     select ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'us', 'public', 't' || n % 2, '["' || n || '"]',
            json_build_object('id', n::text), n, 'p', json_build_object('operation', 'INSERT'), '23514', 'check "c" fails'
       from generate_series(1, $1::int) n returning event_id`,
    [String(count)],
  );
  return rows.map((row) => String(row.event_id));
}

test('a command whose reader has gone ends without a word', async () => {
  await using fixture = await ApiFixture.start(server);
  await quarantine(fixture, 3);
  const running = start(['quarantine', 'list', '--api', fixture.api.url]);
  running.process.stdout?.destroy();
  const { code, stderr } = await running.outcome;
  assert.deepEqual([code, stderr], [141, '']);
});

describe('status and topology', () => {
  test('show links, for people and for programs', async () => {
    await using fixture = await ApiFixture.start(server);
    const text = await printed(fixture, 'status');
    assert.match(text, /^eu {2}ready {2}run 3/);
    assert.match(text, /us → eu +active +1,500 ms +4\.5 ms +– +0\/s +100 +3 +2 +1 +≥ -1\.5 ms\n/);
    const status = JSON.parse(await printed(fixture, 'status', '--json')) as AgentStatus;
    assert.deepEqual(status, fixture.agent.status());
    assert.match(
      await printed(fixture, 'topology'),
      /REGION +AGENT\neu +http[^\n]+\nus +http:\/\/us\.example:7400\nap +unknown\n/,
    );
    const topology = JSON.parse(await printed(fixture, 'topology', '--json')) as { links: unknown[] };
    assert.equal(topology.links.length, 2);
  });

  test('mark what is set of a policy and not carried out', async () => {
    await using fixture = await ApiFixture.start(server);
    assert.doesNotMatch(await printed(fixture, 'topology'), /not carried out/);
    await fixture.patchLink('us:eu', { tables: ['public.a'], bandwidth_limit_bytes_per_s: 4_096 });
    assert.match(
      await printed(fixture, 'topology'),
      /us:eu +active +async +10 s +4\.0 KB\/s \* +0 +public\.a \*\n[^*]*\n\* kept, and not carried out by this version/,
    );
  });

  test('go on watching until they are told to stop, also while the agent is away', async () => {
    await using fixture = await ApiFixture.start(server);
    const watching = start(['status', '--watch', '1', '--api', fixture.api.url]);
    let text = '';
    watching.process.stdout?.on('data', (chunk: string) => {
      text += chunk;
    });
    await waitFor(() => text.split('us → eu').length > 2, { what: 'two looks' });
    await fixture.api[Symbol.asyncDispose]();
    await waitFor(() => text.includes('SYN-T007'), { what: 'the agent is away' });
    watching.process.kill('SIGINT');
    assert.equal((await watching.outcome).code, 0);
  });
});

describe('links', () => {
  test('are paused and resumed by name, and stay so', async () => {
    await using fixture = await ApiFixture.start(server);
    assert.match(await printed(fixture, 'link', 'pause', 'us:eu'), /^us:eu is paused/);
    const stored = async () =>
      (await fixture.client.query("select status from syncline.link where link_id = 'us:eu'")).rows[0]?.status;
    assert.equal(await stored(), 'paused');
    const resumed = JSON.parse(await printed(fixture, 'link', 'resume', 'us:eu', '--json')) as { status: string };
    assert.deepEqual([resumed.status, await stored()], ['active', 'active']);
    const foreign = await run(['link', 'pause', 'eu:us', '--api', fixture.api.url]);
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /SYN-T002[^\n]*\n {2}eu:us belongs to the agent of us at http:\/\/us\.example:7400/);
  });
});

describe('the quarantine', () => {
  test('is listed with reasons, whole pages of it', async () => {
    await using fixture = await ApiFixture.start(server);
    assert.equal(await printed(fixture, 'quarantine', 'list'), 'the quarantine is empty\n');
    const ids = await quarantine(fixture, 5);
    const text = await printed(fixture, 'quarantine', 'list', '--limit', '2');
    assert.match(text, new RegExp(`^${ids[4]} {2}public\\.t1 id=5 {2}INSERT of us\\n {2}23514 check "c" fails`));
    const cursor = /more: --cursor (\S+)/.exec(text)?.[1] ?? '';
    const rest = JSON.parse(await printed(fixture, 'quarantine', 'list', '--json', '--cursor', cursor)) as {
      items: { event_id: string }[];
    };
    assert.deepEqual(
      rest.items.map(({ event_id }) => event_id),
      [ids[2], ids[1], ids[0]],
    );
  });

  test('is retried oldest first, and the exit code tells whether all went well', async () => {
    await using fixture = await ApiFixture.start(server);
    const ids = await quarantine(fixture, 1_100);
    const { code, stdout } = await run(['quarantine', 'retry', '--all', '--api', fixture.api.url]);
    assert.equal(code, 1, 'the agent of the test applies the first of each request');
    assert.match(stdout, /3 of 1,100 events were applied\n$/);
    assert.deepEqual(fixture.agent.retried, ids);
    const one = await run(['quarantine', 'retry', String(ids[7]), '--json', '--api', fixture.api.url]);
    assert.equal(one.code, 0);
    assert.deepEqual(JSON.parse(one.stdout), { items: [{ event_id: ids[7], applied: true, error: null }] });
  });

  test('is discarded only where that is confirmed', async () => {
    await using fixture = await ApiFixture.start(server);
    const ids = await quarantine(fixture, 4);
    const unconfirmed = await run(['quarantine', 'discard', '--all', '--api', fixture.api.url]);
    assert.equal(unconfirmed.code, 1);
    assert.match(unconfirmed.stderr, /SYN-T012/);
    assert.deepEqual(fixture.agent.discarded, []);
    const text = await printed(fixture, 'quarantine', 'discard', '--all', '--table', 'public.t0', '--yes');
    assert.equal(text, '2 events were discarded\n');
    assert.deepEqual(fixture.agent.discarded, [ids[1], ids[3]]);
    const none = await run(['quarantine', 'discard', '--yes', '--api', fixture.api.url]);
    assert.match(none.stderr, /SYN-T005/);
  });
});

describe('conflicts', () => {
  test('are shown by the columns that differ', async () => {
    await using fixture = await ApiFixture.start(server);
    assert.equal(await printed(fixture, 'conflicts'), 'no conflicts\n');
    await fixture.client.query(
      `insert into syncline.conflict_log (conflict_id, schema_name, table_name, row_pk, resolution_strategy,
          loser_hlc, loser_origin, winner_hlc, winner_origin, image_a, image_b, base_image, result_image)
       select gen_random_uuid(), 'public', 'orders', '{"id":"7"}', 'lww', 1, 'us', 2, 'eu',
              '{"id":"7","state":"paid"}', '{"id":"7","state":"sent"}', '{"id":"7","state":"new"}', '{"id":"7","state":"sent"}'
         from generate_series(1, 3)`,
    );
    const text = await printed(fixture, 'conflicts', '--table', 'orders', '--region', 'us', '--limit', '2');
    assert.match(text, /public\.orders id=7 {2}lww, provisional/);
    assert.match(text, /column +before +us \(lost\) +eu \(won\) +result\n +state +new +paid +sent +sent\n/);
    assert.match(text, /more: --cursor \S+\n$/);
    assert.equal(await printed(fixture, 'conflicts', '--pk', 'id=8'), 'no conflicts\n');
    assert.equal(await printed(fixture, 'conflicts', '--final'), 'no conflicts\n');
    assert.match(await printed(fixture, 'conflicts', '--provisional', '--pk', 'id=7'), /public\.orders id=7/);
    const page = JSON.parse(await printed(fixture, 'conflicts', '--json')) as { items: unknown[]; next_cursor: null };
    assert.deepEqual([page.items.length, page.next_cursor], [3, null]);
    const wrong = await run(['conflicts', '--from', 'yesterday', '--api', fixture.api.url]);
    assert.deepEqual([wrong.code, /SYN-T005/.test(wrong.stderr)], [1, true]);
  });
});
