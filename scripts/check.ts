// `npm run check`: everything that can be known without running the code. Formatters and compilers
// run as child processes, the checks of this folder in this process, all at once. Names as arguments
// choose some of them: `npm run check -- types imports`.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { checkArchitecture } from './check-architecture.ts';
import { checkBannedWords } from './check-banned-words.ts';
import { checkConfigDoc } from './check-config-doc.ts';
import { checkDeadFiles } from './check-dead-files.ts';
import { checkDocLinks } from './check-doc-links.ts';
import { checkDoctorDoc } from './check-doctor-doc.ts';
import { checkErrorsDoc } from './check-errors-doc.ts';
import { checkEventsDoc } from './check-events-doc.ts';
import { checkImports } from './check-imports.ts';
import { checkMutations } from './check-mutations.ts';
import { checkSpec } from './check-spec.ts';
import { type Check, readSourceTree } from './source-tree.ts';

const ROOT = join(import.meta.dirname, '..');
const TOOL_LIMIT_MS = 300_000;
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;

const TOOLS: Readonly<Record<string, readonly string[]>> = {
  format: ['biome', 'check', '--error-on-warnings', '--max-diagnostics=50'],
  lint: ['oxlint', '--type-aware', '--deny-warnings'],
  types: ['tsc', '--noEmit'],
};

const CHECKS: Readonly<Record<string, Check>> = {
  imports: checkImports,
  'dead-files': checkDeadFiles,
  'banned-words': checkBannedWords,
  'doc-links': checkDocLinks,
  'errors-doc': checkErrorsDoc,
  'doctor-doc': checkDoctorDoc,
  'events-doc': checkEventsDoc,
  'config-doc': checkConfigDoc,
  architecture: checkArchitecture,
  mutations: checkMutations,
  spec: checkSpec,
};

/** The tool's output if it failed, or nothing. */
function runTool([command = '', ...options]: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const limits = { cwd: ROOT, timeout: TOOL_LIMIT_MS, maxBuffer: OUTPUT_BYTES_MAX };
    execFile(join(ROOT, 'node_modules', '.bin', command), options, limits, (error, stdout, stderr) => {
      resolve(error === null ? '' : `${stdout}${stderr}` || error.message);
    });
  });
}

const names = [...Object.keys(TOOLS), ...Object.keys(CHECKS)];
const chosen = process.argv.length > 2 ? process.argv.slice(2) : names;
const unknown = chosen.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`no check named ${unknown.join(', ')}; there are ${names.join(', ')}`);
  process.exit(2);
}

const tools = chosen.map(async (name) => {
  const tool = TOOLS[name];
  return tool === undefined ? undefined : { name, output: await runTool(tool) };
});
const tree = await readSourceTree(ROOT);
const checks = chosen.map((name) => {
  const check = CHECKS[name];
  return check === undefined ? undefined : { name, output: check(tree).join('\n') };
});

const results = [...(await Promise.all(tools)), ...checks].filter((result) => result !== undefined);
const failed = results.filter(({ output }) => output !== '');
for (const { name, output } of failed) console.error(`✖ ${name}\n${output.trimEnd()}\n`);
console.log(
  failed.length === 0
    ? `checked: ${chosen.join(', ')}`
    : `failed: ${failed.map(({ name }) => name).join(', ')} (of ${chosen.join(', ')})`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
