// Runs the tests with real servers on each major version of PostgreSQL in turn, and ends with a table.
//
//   npm run test:matrix                 all versions, all of test/regions
//   npm run test:matrix -- 14 16 traps  two of them, the files whose path contains `traps`
//
// Each version is a run of its own, with SYNCLINE_POSTGRES set: servers whose test names a version keep
// that one (regions of different versions together, a copy of an older version). SYNCLINE_LAYERS chooses
// other layers, and SYNCLINE_ROLE=plain runs agents without a superuser, as in any run. All versions are run
// even where one fails; the exit code is 0 only if none did.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { POSTGRES_MAJORS } from '../src/platform/servers/postgres-binaries.ts';

const RUNNER = join(import.meta.dirname, 'test.ts');

type Outcome = {
  readonly major: number;
  readonly tests: number;
  readonly passed: number;
  readonly failed: number;
  readonly minutes: number;
  readonly green: boolean;
};

const wanted = process.argv.slice(2);
const asked = wanted.filter((each) => /^\d+$/.test(each)).map(Number);
const files = wanted.filter((each) => !/^\d+$/.test(each));
const majors: readonly number[] = POSTGRES_MAJORS;
const unknown = asked.filter((major) => !majors.includes(major));
if (unknown.length > 0) {
  console.error(`no PostgreSQL ${unknown.join(', ')} here; there are ${majors.join(', ')}`);
  process.exit(2);
}

const outcomes: Outcome[] = [];
for (const major of asked.length > 0 ? asked : majors) {
  console.log(`\nPostgreSQL ${major}`);
  outcomes.push(await runOn(major));
}
console.log(`\n${tableOf(outcomes)}`);
process.exitCode = outcomes.every(({ green }) => green) ? 0 : 1;

async function runOn(major: number): Promise<Outcome> {
  const began = performance.now();
  const runner = spawn(process.execPath, [RUNNER, ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      SYNCLINE_POSTGRES: String(major),
      SYNCLINE_LAYERS: process.env.SYNCLINE_LAYERS ?? 'regions',
    },
  });
  let end = '';
  runner.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk);
    end = `${end}${chunk.toString()}`.slice(-100_000);
  });
  const [status] = (await once(runner, 'close')) as [number | null];
  const count = (what: string): number => Number(end.match(new RegExp(`^ℹ ${what} (\\d+)$`, 'm'))?.[1] ?? 0);
  return {
    major,
    tests: count('tests'),
    passed: count('pass'),
    failed: count('fail'),
    minutes: (performance.now() - began) / 60_000,
    // A run that ended before it counted anything proves nothing.
    green: status === 0 && count('tests') > 0,
  };
}

function tableOf(rows: readonly Outcome[]): string {
  const cells = [
    ['PostgreSQL', 'tests', 'passed', 'failed', 'minutes', ''],
    ...rows.map(({ major, tests, passed, failed, minutes, green }) => [
      String(major),
      String(tests),
      String(passed),
      String(failed),
      minutes.toFixed(1),
      green ? 'green' : 'FAILED',
    ]),
  ];
  return cells.map((row) => row.map((cell) => cell.padStart(10)).join(' ')).join('\n');
}
