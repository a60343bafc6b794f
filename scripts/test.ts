// Runs the tests in one run of node:test, so that its own summary at the end counts them all.
//
// Layers are unit (beside the sources), simulation, regions and restores (real servers, from npm packages
// alone; the latter brings databases back under load and has what else takes minutes), clocks (servers whose clocks are moved by Debian's libfaketime), disks (full ones, which
// takes root on Linux), bounds (sizes that take minutes, and the memory that agents take), kafka (real brokers, which need Java and, once, Maven), and proofs (regions
// on brokers that are killed, and agents that are away for long: minutes each); the last five are
// left out unless they are asked for, and fail where they cannot run. SYNCLINE_LAYERS, a comma list, chooses among them; the ones left out are
// named, so that a green run does not claim more than it ran. Arguments choose files whose path contains one of them.
// After a failure the counts are repeated at the end, behind the details. SYNCLINE_TIMES names a file to which how long each
// test file took is written, the slowest first.

import { writeFileSync } from 'node:fs';
import { glob, statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const ROOT = join(import.meta.dirname, '..');
const FILE_LIMIT_MS = 900_000;

// The longest come first, so that the processors stay busy until the end.
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  regions: ['test/regions/**/*.test.ts', 'test/chaos/chaos.test.ts'],
  restores: ['test/restores/**/*.test.ts'],
  clocks: ['test/clocks/**/*.test.ts'],
  disks: ['test/disks/**/*.test.ts'],
  bounds: ['test/bounds/**/*.test.ts'],
  kafka: ['test/kafka/*.test.ts'],
  proofs: ['test/kafka/{proof,on-kafka}/*.test.ts'],
  simulation: ['test/simulation/**/*.test.ts'],
  unit: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'test/{support,chaos}/**/!(chaos).test.ts'],
};

const SHARED_MEMORY = '/dev/shm';
const TMPFS_MAGIC = 0x01021994;
const GIB = 1024 ** 3;
/** What a few servers at once may hold, and that with what all processes need beside them. */
const SERVERS_BYTES = 4 * GIB;
const MEMORY_BYTES = 8 * GIB;
/** Where servers hold much, or disks are what is looked at. */
const ON_DISKS = ['disks', 'bounds', 'proofs'];

/** What needs more than Node and npm, or longer than a build has. */
const ASKED_FOR = ['clocks', 'disks', 'bounds', 'kafka', 'proofs'];

const all = Object.keys(LAYERS);
const chosen =
  process.env.SYNCLINE_LAYERS?.split(',').map((layer) => layer.trim()) ??
  all.filter((layer) => !ASKED_FOR.includes(layer));
const unknown = chosen.filter((layer) => !all.includes(layer));
if (unknown.length > 0) {
  console.error(`no test layer named ${unknown.join(', ')}; there are ${all.join(', ')}`);
  process.exit(2);
}

const wanted = process.argv.slice(2);
const files: string[] = [];
for (const layer of all.filter((each) => chosen.includes(each))) {
  const found: string[] = [];
  for (const pattern of LAYERS[layer] ?? []) {
    for await (const path of glob(pattern, { cwd: ROOT })) found.push(path);
  }
  const matching = found.filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)));
  files.push(...matching.sort((a, b) => (a < b ? -1 : 1)));
}
if (files.length === 0) {
  console.error('no test file matches');
  process.exit(2);
}

const leftOut = all.filter((layer) => !chosen.includes(layer));
console.log(`test layers: ${chosen.join(', ')}; left out: ${leftOut.join(', ') || 'none'}`);

// Each file is a process of its own; what these compile is kept, as `bin/syncline` keeps what agents compile.
process.env.NODE_COMPILE_CACHE ??= join(ROOT, 'node_modules/.cache/node');

// Thousands of databases come and go, of hundreds of files each. ext4 walks past every file that was removed lately (for
// minutes) to make another one, which is half of all processor time; in memory nothing is walked. kill -9 of processes, the
// worst that tests do, takes nothing back from either.
if (process.env.SYNCLINE_SERVER_FOLDER === undefined && !chosen.some((layer) => ON_DISKS.includes(layer))) {
  if (await hasRoomInMemory()) process.env.SYNCLINE_SERVER_FOLDER = SHARED_MEMORY;
}

const counts: string[] = [];
const stream = run({ cwd: ROOT, files, concurrency: availableParallelism(), timeout: FILE_LIMIT_MS });
stream.on('test:fail', ({ todo }) => {
  if (todo === undefined || todo === false) process.exitCode = 1;
});
stream.on('test:diagnostic', ({ message, nesting, file }) => {
  if (nesting === 0 && file === undefined) counts.push(message);
});
const took: { readonly seconds: number; readonly file: string }[] = [];
stream.on('test:summary', ({ file, duration_ms }) => {
  if (file !== undefined) took.push({ seconds: duration_ms / 1000, file: relative(ROOT, file) });
});
stream.on('end', () => {
  const path = process.env.SYNCLINE_TIMES;
  if (path === undefined) return;
  took.sort((a, b) => b.seconds - a.seconds);
  writeFileSync(path, took.map(({ seconds, file }) => `${seconds.toFixed(1)} ${file}\n`).join(''));
});
const report = stream.compose(new spec());
report.on('end', () => {
  if (process.exitCode === 1) console.log(`\n${counts.map((line) => `ℹ ${line}`).join('\n')}`);
});
report.pipe(process.stdout);

async function hasRoomInMemory(): Promise<boolean> {
  try {
    const { type, bavail, bsize } = await statfs(SHARED_MEMORY);
    return type === TMPFS_MAGIC && bavail * bsize >= SERVERS_BYTES && process.availableMemory() >= MEMORY_BYTES;
  } catch {
    // No such folder, as on macOS.
    return false;
  }
}
