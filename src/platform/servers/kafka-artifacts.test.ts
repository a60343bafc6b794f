import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { waitFor } from '../../../test/support/wait-for.ts';
import { fetchJars, findJava, findMaven, javaMajor } from './kafka-artifacts.ts';

let folder: string;
let environment: NodeJS.ProcessEnv;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'syncline-artifacts-'));
  await mkdir(join(folder, 'bin'));
  environment = { PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, FOLDER: folder };
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

/** A program of the name that a shell script stands in for. */
async function standIn(name: string, script: string): Promise<void> {
  await writeFile(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

const MAVEN = 'case "$*" in *-version*) echo "Apache Maven 3.9.9 (abc)"; exit 0;; esac';

describe('the Java that runs Kafka', () => {
  test('is told by its major version, also where that is written as 1.8', () => {
    assert.equal(javaMajor('openjdk version "17.0.15" 2025-04-15\n'), 17);
    assert.equal(javaMajor('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njava version "1.8.0_402"\n'), 8);
    assert.equal(javaMajor('openjdk version "25" 2025-09-16\n'), 25);
    assert.equal(javaMajor('command not found'), undefined);
  });

  test('is the one of JAVA_HOME, else of the path', async () => {
    await standIn('java', 'echo \'openjdk version "21.0.1"\' >&2');
    assert.equal(await findJava(environment), 'java');
    assert.equal(await findJava({ ...environment, JAVA_HOME: folder }), join(folder, 'bin', 'java'));
  });

  test('is told to be missing, or too old', async () => {
    const missing = { ...environment, JAVA_HOME: join(folder, 'none') };
    await assert.rejects(findJava(missing), { code: 'SYN-D040', message: /no such program/ });
    await standIn('java', 'echo \'openjdk version "11.0.2"\' >&2');
    await assert.rejects(findJava(environment), { code: 'SYN-D040', message: /is Java 11, .* needs 17 or later/ });
  });
});

describe('the Maven that fetches Kafka', () => {
  test('is told to be missing, or too old', async () => {
    await assert.rejects(findMaven({ PATH: folder }), { code: 'SYN-D041', message: /no such program/ });
    await standIn('mvn', 'echo "Apache Maven 3.5.4 (abc)"');
    await assert.rejects(findMaven(environment), { code: 'SYN-D041', message: /3\.5\.4, before 3\.6\.3/ });
    await standIn('mvn', 'echo "Apache Maven 4.0.0 (abc)"');
    assert.equal(await findMaven(environment), 'mvn');
  });

  test('says why it failed, and leaves nothing behind', async () => {
    await standIn('mvn', `${MAVEN}\necho "[ERROR] no route to the registry"; exit 1`);
    const cache = join(folder, 'cache');
    await assert.rejects(fetchJars(cache, environment), { code: 'SYN-D042', message: /no route to the registry/ });
    assert.deepEqual(await readdir(cache), ['lock.db']);
  });
});

describe('a first fetch', () => {
  // Tells who began, waits until it may end, and brings one jar.
  const SLOW_MAVEN = `${MAVEN}
    for option; do case "$option" in -DoutputDirectory=*) out="\${option#*=}";; esac; done
    echo begun >> "$FOLDER/journal"
    tries=0
    while [ ! -e "$FOLDER/go" ] && [ $tries -lt 600 ]; do sleep 0.05; tries=$((tries + 1)); done
    mkdir -p "$out" && echo jar > "$out/kafka.jar"
    echo ended >> "$FOLDER/journal"`;

  function fetcher() {
    const script = `
      import { fetchJars } from ${JSON.stringify(join(import.meta.dirname, 'kafka-artifacts.ts'))};
      console.log(await fetchJars(${JSON.stringify(join(folder, 'cache'))}));
    `;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
    });
    const ended = once(child, 'close').then(([status]: unknown[]) => ({ status, jars: output.trim() }));
    return { child, ended };
  }

  const journal = async (): Promise<string> => await readFile(join(folder, 'journal'), 'utf8').catch(() => '');
  const begins = (times: number) =>
    waitFor(async () => (await journal()).split('begun').length > times, { what: `Maven to begin ${times} times` });

  test('of several processes at once is made by one, and all get the same', async () => {
    await standIn('mvn', SLOW_MAVEN);
    const fetchers = [fetcher(), fetcher(), fetcher()];
    await begins(1);
    await writeFile(join(folder, 'go'), '');
    const ends = await Promise.all(fetchers.map(({ ended }) => ended));
    assert.deepEqual(new Set(ends.map(({ status }) => status)), new Set([0]));
    assert.equal(new Set(ends.map(({ jars }) => jars)).size, 1);
    assert.deepEqual(await readdir(ends[0]?.jars ?? ''), ['kafka.jar']);
    assert.equal(await journal(), 'begun\nended\n');
  });

  test('that is called off ends at once, with its Maven, and leaves nothing behind', async () => {
    await standIn('mvn', SLOW_MAVEN);
    const cache = join(folder, 'cache');
    const interrupt = new AbortController();
    const calledOff = async (): Promise<void> =>
      await assert.rejects(fetchJars(cache, environment, interrupt.signal), { name: 'AbortError' });
    const fetching = calledOff();
    await begins(1);
    const waiting = calledOff();
    interrupt.abort();
    await Promise.all([fetching, waiting]);
    assert.deepEqual(await readdir(cache), ['lock.db']);
    assert.equal(await journal(), 'begun\n');
  });

  test('of one that is killed amid it is made anew by the next, and leaves nothing behind', async () => {
    await standIn('mvn', SLOW_MAVEN);
    const first = fetcher();
    await begins(1);
    const second = fetcher();
    first.child.kill('SIGKILL');
    await begins(2);
    await writeFile(join(folder, 'go'), '');
    const { status, jars } = await second.ended;
    assert.equal(status, 0);
    assert.deepEqual(await readdir(jars), ['kafka.jar']);
    assert.equal(await journal(), 'begun\nbegun\nended\n');
    const isTidy = async () => (await readdir(join(folder, 'cache'))).sort().join() === `${basename(jars)},lock.db`;
    await waitFor(isTidy, { what: 'nothing to be left of the first' });
  });
});
