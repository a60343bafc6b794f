// `syncline doctor`: everything that keeps a region from being served, why it matters, and what mends it.
//
// Several configurations are looked at one by one, and then their databases are compared with each
// other. With one, the agents of its peers are asked for what they have.

import type { Command } from 'commander';
import { CHECKS } from '../monitor/checks/check-list.ts';
import type { Finding } from '../monitor/checks/finding.ts';
import { loadConfig } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';
import { examine, sorted } from './doctor-checks.ts';
import { compareDatabases, comparePeers } from './doctor-compare.ts';
import { countOf, renderFindings } from './doctor-view.ts';
import { paint, print, printJson } from './output.ts';

type Flags = { readonly config: readonly string[]; readonly json?: boolean };

const WIDTH_MIN = 60;
const WIDTH_MAX = 96;

const HELP = `
Exit code: 0 if there is no error; warnings and notes do not count. 1 if there is one, or
if doctor itself could not do its work.

Nothing is changed, neither in the database nor elsewhere. Statements are printed as they
can be run, with who may run them; what begins with # is done elsewhere.`;

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('Find what a region lacks, and print what mends it.')
    .requiredOption('-c, --config <file...>', 'configuration of the region; several are compared with each other')
    .option('--json', 'print { region, errors, warnings, notes, findings }, or { regions, …, findings } for several')
    .addHelpText('after', HELP)
    .action(doctor);
}

async function doctor({ config: paths, json }: Flags): Promise<void> {
  const configs = await Promise.all(paths.map((path) => loadConfig(path)));
  const names = configs.map(({ region }) => region);
  const twice = names.find((name, place) => names.indexOf(name) !== place);
  if (twice !== undefined) throw fail('SYN-C007', `the region ${twice} is given twice`);
  const isAlone = configs.length === 1;
  const regions = await Promise.all(
    configs.map(async (config) => {
      const findings = [...(await examine(config)), ...(isAlone ? await comparePeers(config) : [])];
      return { name: config.region, findings: sorted(findings) };
    }),
  );
  const between = isAlone ? [] : sorted(await compareDatabases(configs));
  const all = [...regions.flatMap(({ findings }) => findings), ...between];
  if (json === true) {
    const reports = regions.map(({ name, findings }) => ({ region: name, ...report(findings) }));
    printJson(isAlone ? reports[0] : { regions: reports, ...report(between) });
  } else if (isAlone) print(renderFindings(names[0] ?? '', all, width()));
  else {
    const heading = (text: string): void => print(`${paint('bold', `━━━ ${text} `.padEnd(width(), '━'))}\n\n`);
    for (const { name, findings } of regions) {
      heading(name);
      print(`${renderFindings(name, findings, width())}\n\n`);
    }
    const where = `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
    heading(`between ${where}`);
    print(renderFindings(`between ${where}`, between, width(), `nothing to mend between ${where}`));
  }
  if (countOf(all, 'error') > 0) process.exitCode = 1;
}

function report(findings: readonly Finding[]): Record<string, unknown> {
  return {
    errors: countOf(findings, 'error'),
    warnings: countOf(findings, 'warning'),
    notes: countOf(findings, 'info'),
    findings: findings.map((each) => ({ area: CHECKS[each.code].area, ...each })),
  };
}

const width = (): number => Math.max(WIDTH_MIN, Math.min(WIDTH_MAX, process.stdout.columns ?? WIDTH_MAX));
