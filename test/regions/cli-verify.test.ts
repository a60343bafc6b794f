// The command `verify`: what it takes, and what its exit code tells.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { verifyRegions } from '../../src/verify/verify-regions.ts';
import type { VerifyReport } from '../../src/verify/verify-report.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { NAMES, Regions } from '../support/verified-regions.ts';

// Two versions, so that texts and digests of both are compared; each test has databases of its own.
let servers: PostgresServer[] = [];

before(async () => {
  servers = await Promise.all([PostgresServer.start({ version: 18 }), PostgresServer.start({ version: 15 })]);
});
after(async () => {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

const PROGRAM = resolve(import.meta.dirname, '../../bin/syncline');

describe('verify', () => {
  test('the command takes configurations and URLs, and its exit code tells the outcomes apart', async () => {
    await using regions = await Regions.start(servers, 2);
    await regions.all('create table public.items (id int primary key, note text)');
    await regions.all('create table public.left_out (id int)');
    const [here = '', there = ''] = regions.urls;
    const folder = await mkdtemp(join(tmpdir(), 'syncline-verify-'));
    try {
      const paths = await Promise.all(
        regions.urls.map(async (url, index) => {
          const path = join(folder, `${index}.yaml`);
          const tables = { include: ['public.*'], exclude: ['public.left_out'] };
          await writeFile(path, JSON.stringify({ region: NAMES[index], database: url, tables }));
          return path;
        }),
      );
      const byConfig = await syncline('verify', '-c', ...paths, '--json', '--settle-ms', '50');
      assert.equal(byConfig.exitCode, 0, byConfig.stderr);
      assert.equal((JSON.parse(byConfig.stdout) as VerifyReport).equal, true);

      const databases = ['--database', `here=${here}`, '--database', `there=${there}`];
      const all = await syncline('verify', ...databases, '--settle-ms', '50');
      assert.equal(all.exitCode, 2, 'a table without a key cannot be compared');
      assert.match(all.stdout, /SYN-P012/);

      await regions.in('there', "insert into public.items values (7, 'more')");
      const different = await syncline('verify', ...databases, '--tables', 'public.i*', '--settle-ms', '50');
      assert.equal(different.exitCode, 1);
      assert.match(different.stdout, /SYN-V001 1 row differs/);

      const alone = await syncline('verify', '--database', `here=${here}`);
      assert.equal(alone.exitCode, 2);
      assert.match(alone.stderr, /SYN-V004/);
      const away = await syncline(
        'verify',
        '--database',
        `here=${here}`,
        '--database',
        `away=${here.replace(/:\d+\//, ':1/')}`,
      );
      assert.equal(away.exitCode, 2);
      assert.match(away.stderr, /SYN-P009/);
      const password = new URL(here).password;
      for (const { stdout, stderr } of [byConfig, all, different, alone, away]) {
        assert.ok(!`${stdout}${stderr}`.includes(password), 'no output shows the password');
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('an option that is wrong differs from rows that do, and no password is repeated', async () => {
    const url = 'postgres://u:secret@127.0.0.1/db';
    const wrong = [
      ['--database', url],
      ['--database', 'u:secret@127.0.0.1/db'],
      ['--database', `eu=${url}`, '--databse', url],
      [`--databse=${url}`],
      ['--database', `eu=${url}`, '--settle-ms', 'x'],
    ];
    for (const options of wrong) {
      const { exitCode, stdout, stderr } = await syncline('verify', ...options);
      assert.equal(exitCode, 2, options.join(' '));
      assert.match(stderr, /database|databse|settle-ms/);
      assert.ok(!`${stdout}${stderr}`.includes('secret'), stderr);
    }
    assert.equal((await syncline('verify', '--help')).exitCode, 0);
  });

  test('a server that cannot be reached is an error of its own', async () => {
    await using regions = await Regions.start(servers, 1);
    const tables = { include: ['*'], exclude: [] };
    const [url = ''] = regions.urls;
    const away = url.replace(/:\d+\//, ':1/');
    const asked = [
      { region: 'here', url, tables },
      { region: 'away', url: away, tables },
    ];
    await assert.rejects(verifyRegions({ regions: asked }), { code: 'SYN-P009' });
  });
});

async function syncline(...args: string[]): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
  await once(child, 'close');
  return { exitCode: child.exitCode, stdout: await stdout, stderr: await stderr };
}
