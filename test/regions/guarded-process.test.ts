import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Watchdog } from '../../src/platform/servers/guarded-process.ts';
import { isAlive } from '../../src/platform/servers/processes.ts';
import { waitFor } from '../support/wait-for.ts';

// `exec` keeps the pid, and what a signal does is up to the trap.
const SERVER = 'exec sleep 60';
const STUBBORN = 'trap "" QUIT; while :; do sleep 0.1; done';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'syncline-guarded-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

/** A process that guards a server, tells the pid of the server and lives until it is killed. */
async function guardInChild(signal: 'QUIT' | 'KILL', command: string) {
  const script = `
    import { open } from 'node:fs/promises';
    import { Watchdog } from ${JSON.stringify(join(import.meta.dirname, '../../src/platform/servers/guarded-process.ts'))};
    const log = await open('/dev/null', 'w');
    const watchdog = new Watchdog({ signal: '${signal}', folder: ${JSON.stringify(folder)} });
    watchdog.start(['/bin/sh', '-c', ${JSON.stringify(command)}], { cwd: '/', env: process.env, output: log.fd });
    console.log(watchdog.pid);
    setInterval(() => undefined, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { pid: Number(line.toString()), kill: () => child.kill('SIGKILL') };
}

const isGone = (pid: number) => async (): Promise<boolean> => !(await isAlive(pid)) && !existsSync(folder);

test('a server and its folder go with the process that started it', async () => {
  await writeFile(join(folder, 'data'), 'x');
  const guard = await guardInChild('QUIT', SERVER);
  assert.equal(await isAlive(guard.pid), true);
  guard.kill();
  await waitFor(isGone(guard.pid), { what: 'the server and its folder to be gone' });
});

test('a server that is paused goes too', async () => {
  const guard = await guardInChild('KILL', SERVER);
  process.kill(guard.pid, 'SIGSTOP');
  guard.kill();
  await waitFor(isGone(guard.pid), { what: 'the server and its folder to be gone' });
});

test('a server that does not listen is killed in the end', async () => {
  const guard = await guardInChild('QUIT', STUBBORN);
  guard.kill();
  await waitFor(isGone(guard.pid), { what: 'the server and its folder to be gone' });
});

test('a folder that was not given stays, and a second server can follow the first', async () => {
  const watchdog = new Watchdog({ signal: 'KILL' });
  await using log = await open(join(folder, 'log'), 'a');
  const options = { cwd: folder, env: process.env, output: log.fd };
  const first = watchdog.start(['/bin/sh', '-c', SERVER], options);
  assert.throws(() => watchdog.start(['/bin/sh', '-c', SERVER], options), /one server at a time/);
  first.kill('SIGKILL');
  await waitFor(() => watchdog.pid === undefined, { what: 'the first to end' });
  const { pid = 0 } = watchdog.start(['/bin/sh', '-c', SERVER], options);
  assert.equal(await isAlive(pid), true);
  await watchdog.close();
  await waitFor(async () => !(await isAlive(pid)), { what: 'the second to end with the watchdog' });
  assert.equal(existsSync(folder), true);
});
