// `syncline doctor`: everything that keeps a region from being served, why it matters, and what mends it.
//
// Several configurations are looked at one by one, and then their databases are compared with each
// other. With one, the agents of its peers are asked for what they have.

import type { Command } from 'commander';
import { CHECKS } from '../monitor/check-list.ts';
import type { Finding } from '../monitor/finding.ts';
import { loadConfig } from '../platform/config.ts';
import { examine } from './doctor-checks.ts';
import { countOf, renderFindings } from './doctor-view.ts';
import { print, printJson } from './output.ts';

type Flags = { readonly config: string; readonly json?: boolean };

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
    .requiredOption('-c, --config <file>', 'configuration of the region')
    .option('--json', 'print { region, errors, warnings, notes, findings }')
    .addHelpText('after', HELP)
    .action(async ({ config: path, json }: Flags) => {
      const config = await loadConfig(path);
      const findings = await examine(config);
      if (json === true) printJson(report(config.region, findings));
      else print(renderFindings(config.region, findings, width()));
      if (countOf(findings, 'error') > 0) process.exitCode = 1;
    });
}

function report(region: string, findings: readonly Finding[]): Record<string, unknown> {
  return {
    region,
    errors: countOf(findings, 'error'),
    warnings: countOf(findings, 'warning'),
    notes: countOf(findings, 'info'),
    findings: findings.map((each) => ({ area: CHECKS[each.code].area, ...each })),
  };
}

const width = (): number => Math.max(WIDTH_MIN, Math.min(WIDTH_MAX, process.stdout.columns ?? WIDTH_MAX));
