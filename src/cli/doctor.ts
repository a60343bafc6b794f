// `syncline doctor`: everything that keeps a region from being served, why it matters, and what mends it.

import type { Command } from 'commander';
import type { Finding, Severity } from '../monitor/finding.ts';
import { loadConfig } from '../platform/config.ts';
import { examine } from './doctor-checks.ts';
import { paint, print, printJson } from './output.ts';

type Flags = { readonly config: string; readonly json?: boolean };

const MARK: Readonly<Record<Severity, string>> = { error: '✖', warning: '!', info: 'i' };
const COLOUR = { error: 'red', warning: 'yellow', info: 'cyan' } as const;

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('Find what a region lacks, and print what mends it. The exit code is 1 if there is an error.')
    .requiredOption('-c, --config <file>', 'configuration of the region')
    .option('--json', 'print { region, errors, warnings, findings }')
    .action(async ({ config: path, json }: Flags) => {
      const config = await loadConfig(path);
      const findings = await examine(config);
      const errors = findings.filter(({ severity }) => severity === 'error').length;
      const warnings = findings.filter(({ severity }) => severity === 'warning').length;
      if (json === true) printJson({ region: config.region, errors, warnings, findings });
      else print(render(config.region, findings, errors, warnings));
      if (errors > 0) process.exitCode = 1;
    });
}

function render(region: string, findings: readonly Finding[], errors: number, warnings: number): string {
  const summary =
    errors === 0 && warnings === 0
      ? paint('green', `${region} is fit`)
      : `${region}: ${plural(errors, 'error')}, ${plural(warnings, 'warning')}`;
  return [...findings.map(renderFinding), summary].join('\n');
}

/** The fix stands unindented, so that it can be copied as it is. */
function renderFinding({ code, severity, what, why, fix }: Finding): string {
  return `${paint(COLOUR[severity], `${MARK[severity]} ${code}`)} ${paint('bold', what)}\n  ${why}\n${fix}\n`;
}

const plural = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;
