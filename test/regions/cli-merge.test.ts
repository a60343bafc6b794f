// The commands for merge rules: registering, promoting, rolling back, and trying a function on samples.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { MergePage, MergeVersion } from '../../src/api/merge-schemas.ts';
import { type ApiFixture, assertFits, type Json } from '../support/api-fixture.ts';
import { type Outcome, run } from '../support/command.ts';
import { acknowledge, startMergeApi } from '../support/merge-api.ts';
import { PostgresServer } from '../support/postgres-server.ts';

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.start({ settings: { fsync: 'off' } });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

describe('the commands', () => {
  const merge = async (fixture: ApiFixture, ...args: string[]): Promise<Outcome> =>
    await run(['merge', ...args, '--api', fixture.api.url]);

  test('register, list, promote and roll back', async () => {
    await using fixture = await startMergeApi(server);
    await using folder = await Folder.make();
    const path = await folder.file('merge.ts', 'export default ({ b }: { b: object }): object => b;');
    const none = await merge(fixture, 'list');
    assert.deepEqual([none.code, none.stdout], [0, 'no merge rules: every table goes by last writer wins\n']);
    const made = await merge(
      fixture,
      'register',
      '--table',
      'public.carts',
      '--column',
      'items=set',
      '--column',
      'qty=counter',
    );
    assert.equal(made.code, 0, made.stderr);
    assert.match(
      made.stdout,
      /^public\.carts [0-9a-f]{64} is staged: all rows\n {2}it becomes active once .*: eu, us, ap\n$/,
    );
    const id = made.stdout.split(' ')[1] ?? '';
    await acknowledge(fixture, id, 'eu', 'us');
    const json = await merge(fixture, 'register', '--table', 'carts', '--function', path, '--percent', '10', '--json');
    const version = JSON.parse(json.stdout) as MergeVersion;
    assertFits(MergeVersion, version);
    assert.deepEqual(version.rollout, { mode: 'percent', percent: 10, role: 'version' });
    const list = await merge(fixture, 'list');
    const [title, ...lines] = list.stdout.trimEnd().split('\n');
    assert.match(title ?? '', /^TABLE +VERSION +STATE +ROLLOUT +RULE +REGIONS$/);
    assert.match(
      lines[0] ?? '',
      /^public\.carts +[0-9a-f]{12} +staged +10 % of rows +function +eu staged, us staged, ap staged$/,
    );
    assert.match(
      lines[1] ?? '',
      /staged +90 % of rows +lww, items=set, qty=counter +eu acknowledged, us acknowledged, ap staged$/,
    );
    const page = JSON.parse(
      (await merge(fixture, 'list', '--table', 'carts', '--limit', '1', '--json')).stdout,
    ) as Json;
    assertFits(MergePage, page);
    assert.match(
      (await merge(fixture, 'promote', version.version_id.slice(0, 8), '--mode', 'shadow')).stdout,
      /in shadow/,
    );
    assert.equal((await merge(fixture, 'rollback', version.version_id.slice(0, 8))).code, 0);
    assert.match((await merge(fixture, 'rollback', id, '--to', 'lww')).stdout, new RegExp(id));
  });

  test('fail with a code', async () => {
    await using fixture = await startMergeApi(server);
    const fails = async (code: string, ...args: string[]): Promise<void> => {
      const outcome = await merge(fixture, ...args);
      assert.notEqual(outcome.code, 0);
      assert.match(outcome.stderr, new RegExp(code));
    };
    await fails('SYN-T100', 'register', '--table', 'nowhere', '--column', 'a=max');
    await fails('SYN-A080', 'register', '--table', 'carts', '--column', 'price=counter');
    await fails('SYN-T101', 'register', '--table', 'carts', '--function', '/nowhere.ts');
    await fails('SYN-T103', 'promote', 'abcdef');
    await fails('SYN-T103', 'promote', 'a');
    await fails('percent', 'promote', 'abcdef', '--percent', '101');
    const both = ['--mode', 'immediate', '--percent', '5'];
    await fails('SYN-T005', 'register', '--table', 'carts', '--column', 'qty=counter', ...both);
    await fails('required option', 'register', '--column', 'a=max');
  });

  test('try no function that is too large to be registered', async () => {
    await using fixture = await startMergeApi(server);
    await using folder = await Folder.make();
    const source = 'export default ({ b }) => b;';
    const samples = await folder.file('samples.json', JSON.stringify([{ base: null, a: { n: '1' }, b: { n: '2' } }]));
    const attempt = async (characters: number) => {
      const file = await folder.file('large.ts', `${source}//`.padEnd(characters, 'x'));
      return await merge(fixture, 'test', file, '--conflicts', samples);
    };
    assert.equal((await attempt(65_536)).code, 0);
    const { code, stderr } = await attempt(65_537);
    assert.equal(code, 1);
    assert.match(stderr, /SYN-A084[\s\S]*65537 characters/);
  });

  test('try a function on samples and on logged conflicts, and change nothing', async () => {
    await using fixture = await startMergeApi(server);
    await using folder = await Folder.make();
    const sum = await folder.file(
      'sum.ts',
      `export default ({ base, a, b }: { base: { n: string } | null; a: { n: string }; b: { n: string } }) =>
         ({ ...b, n: String(Number(a.n) + Number(b.n) - Number(base?.n ?? 0)) });`,
    );
    const [base, a, b] = [1, 5, 3].map((n) => ({ id: '7', n: String(n) }));
    const samples = await folder.file(
      'samples.json',
      JSON.stringify([
        { base, a, b },
        { a, b },
      ]),
    );
    const tried = await run(['merge', 'test', sum, '--conflicts', samples]);
    assert.equal(tried.code, 0, tried.stderr);
    assert.match(tried.stdout, /\n {2}n +1 +5 +3 +7\n/);
    assert.match(tried.stdout, /\n {2}n +no row +5 +3 +8\n[\s\S]*2 samples: 0 failed, 0 gave different results\n$/);
    const json = JSON.parse((await run(['merge', 'test', sum, '--conflicts', samples, '--json'])).stdout) as Json;
    assert.deepEqual([json.samples, json.failed, json.nondeterministic], [2, 0, 0]);
    await fixture.client.query(
      `insert into syncline.conflict_log (conflict_id, schema_name, table_name, row_pk, resolution_strategy, loser_hlc,
         loser_origin, winner_hlc, winner_origin, image_a, image_b, base_image)
       values (gen_random_uuid(), 'public', 'wide', '{"id":"7"}', 'lww', 1, 'eu', 2, 'us', $1, $2, $3),
              (gen_random_uuid(), 'public', 'wide', '{"id":"8"}', 'lww', 1, 'eu', 2, 'us', $1, null, $3)`,
      [a, b, base].map((image) => JSON.stringify(image)),
    );
    const logged = await merge(fixture, 'test', sum, '--table', 'public.wide');
    assert.match(logged.stdout, /^public\.wide id=7\n[\s\S]*\n {2}n +1 +5 +3 +7\n1 samples: 0 failed/);
    const fails = await folder.file('fails.ts', 'export default () => { throw new Error(); };');
    const failed = await run(['merge', 'test', fails, '--conflicts', samples]);
    assert.equal(failed.code, 1);
    assert.match(failed.stdout, /the function failed \(threw\)[\s\S]*2 failed/);
    const order = await folder.file(
      'order.ts',
      'export default ({ b }: { b: object }) => ({ ...b, n: Object.keys(b)[0] });',
    );
    const differs = await run(['merge', 'test', order, '--conflicts', samples]);
    assert.equal(differs.code, 1);
    assert.match(differs.stdout, /another result when it is asked again[\s\S]*2 gave different results/);
    const wrong = await run([
      'merge',
      'test',
      sum,
      '--conflicts',
      await folder.file('wrong.json', '[{"a":{"n":1},"b":{}}]'),
    ]);
    assert.match(wrong.stderr, /SYN-T107/);
    const { rows } = await fixture.client.query('select count(*) as n from syncline.merge_version');
    assert.equal(rows[0]?.n, '0');
  });
});

class Folder implements AsyncDisposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static async make(): Promise<Folder> {
    return new Folder(await mkdtemp(join(tmpdir(), 'syncline-merge-')));
  }

  async file(name: string, text: string): Promise<string> {
    const path = join(this.#path, name);
    await writeFile(path, text);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#path, { recursive: true });
  }
}
