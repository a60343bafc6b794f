/**
 * Leaves out or turns one rule at a time, on a copy of the sources, and asks the simulation whether it notices; of a rule
 * that only the rarest of schedules needs, a test that was written for it.
 *
 * A rule that can be left out without any schedule failing is either not needed or not tested. Each mutation is a piece of
 * text that must occur exactly once; so a mutation cannot silently stop applying when the code around it changes.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MUTATIONS, type Mutation } from './mutations.ts';

const ROOT = join(import.meta.dirname, '..');
const SEEDS_PER_ROUND = 500;
const ROUNDS_MAX = 12;

const wanted = process.argv.slice(2);
const chosen = MUTATIONS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
let survivors = 0;
for (const mutation of chosen) {
  const seen = await look(mutation);
  if (seen === null) survivors += 1;
  console.log(`${(seen ?? 'SURVIVES').padEnd(23)}  ${mutation.name}: ${mutation.rule}`);
}
console.log(`${chosen.length - survivors} of ${chosen.length} mutations are seen`);
process.exitCode = survivors === 0 ? 0 : 1;

/** What saw the mutation; null where nothing did. */
async function look(mutation: Mutation): Promise<string | null> {
  const directory = await mkdtemp(join(tmpdir(), 'syncline-mutant-'));
  try {
    for (const folder of ['src', 'test', 'sql'])
      await cp(join(ROOT, folder), join(directory, folder), { recursive: true });
    await cp(join(ROOT, 'package.json'), join(directory, 'package.json'));
    await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
    const path = join(directory, mutation.file);
    const text = await readFile(path, 'utf8');
    const pieces = text.split(mutation.find);
    if (pieces.length !== 2)
      throw new Error(`${mutation.name}: its text occurs ${pieces.length - 1} times in ${mutation.file}`);
    await writeFile(path, pieces.join(mutation.replace));
    if (mutation.test !== undefined)
      return (await fails(directory, ['--test', mutation.test])) ? 'seen by its test' : null;
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const from = 1 + round * SEEDS_PER_ROUND;
      const seen = await run(directory, from, from + SEEDS_PER_ROUND - 1);
      if (seen) return `seen within ${from + SEEDS_PER_ROUND - 1} seeds`;
    }
    return null;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Whether a seed of the range fails. */
async function run(directory: string, from: number, to: number): Promise<boolean> {
  return await fails(directory, ['test/simulation/run-many.ts', String(from), String(to), '1']);
}

async function fails(directory: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(process.execPath, args, { cwd: directory, stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code !== 0;
}
