/**
 * Leaves out or turns one rule at a time, on a copy of the sources, and asks the simulation whether it notices.
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

type Verdict = { readonly name: string; readonly rule: string; readonly seeds: number | null };

const wanted = process.argv.slice(2);
const chosen = MUTATIONS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const verdicts: Verdict[] = [];
for (const mutation of chosen) {
  const seeds = await survive(mutation);
  verdicts.push({ name: mutation.name, rule: mutation.rule, seeds });
  console.log(
    `${seeds === null ? 'SURVIVES' : `seen within ${String(seeds).padStart(5)} seeds`}  ${mutation.name}: ${mutation.rule}`,
  );
}
const survivors = verdicts.filter(({ seeds }) => seeds === null);
console.log(`${verdicts.length - survivors.length} of ${verdicts.length} mutations make the simulation fail`);
process.exitCode = survivors.length === 0 ? 0 : 1;

/** How many seeds it took to see the mutation; null where none did. */
async function survive(mutation: Mutation): Promise<number | null> {
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
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const from = 1 + round * SEEDS_PER_ROUND;
      const seen = await run(directory, from, from + SEEDS_PER_ROUND - 1);
      if (seen) return from + SEEDS_PER_ROUND - 1;
    }
    return null;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Whether a seed of the range fails. */
async function run(directory: string, from: number, to: number): Promise<boolean> {
  const args = ['test/simulation/run-many.ts', String(from), String(to), '1'];
  const child = spawn(process.execPath, args, { cwd: directory, stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code !== 0;
}
