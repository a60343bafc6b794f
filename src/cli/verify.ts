// `syncline verify`: are the regions equal? It speaks to the databases alone, so it works while agents
// run, and also after they were stopped.
//
// The exit code is for scripts: 0 all equal, 1 rows truly differ, 2 nobody can tell (a server away, a
// definition that differs, rows that never stopped changing). An error of the command itself is a 2
// as well: a script must never take "could not look" for "differs", nor for "equal".

import { type Command, InvalidArgumentError } from 'commander';
import { loadConfig } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';
import { findOrphans, renderOrphans } from '../verify/orphans.ts';
import {
  GIVE_UP_MS,
  SETTLE_MS,
  type VerifiedRegion,
  type VerifyProgress,
  verifyRegions,
} from '../verify/verify-regions.ts';
import { exitCodeOf, renderReport } from '../verify/verify-report.ts';
import { reportError } from './report-error.ts';

interface VerifyFlags {
  readonly config: readonly string[];
  readonly database: readonly string[];
  readonly tables?: readonly string[];
  readonly json?: boolean;
  readonly orphans?: boolean;
  readonly settleMs: number;
  readonly giveUpMs: number;
}

const PROGRESS_EVERY_MS = 100;
const MS_MAX = 86_400_000;

const HELP = `
Exit code: 0 all equal; 1 rows truly differ; 2 something could not be compared, or was
still in flight at the limit.

A row that differs is looked at again until it is equal, or has stayed different and
unchanged for --settle-ms. Rows are compared as text, as PostgreSQL prints them; which
rows are the same one, the key's own equality decides, so 1.0 and 1.00 are one key.

Rows that lost a unique value and are parked count as well: which of them each region has,
with what version and values. A database without Syncline has parked none.

With --orphans: exit code 1 where there are some, still so after --settle-ms.`;

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .description('compare the replicated tables of two or more regions while writes go on')
    .option('-c, --config <file...>', 'configurations of the agents', [])
    .option('--database <name=url>', 'a region by the URL of its database (can be repeated)', addDatabase, [])
    .option('--tables <pattern...>', 'only these tables: schema.table, with * for any characters')
    .option('--settle-ms <ms>', 'how long a difference may stay in flight', milliseconds, SETTLE_MS)
    .option('--give-up-ms <ms>', 'how long a row may go on changing', milliseconds, GIVE_UP_MS)
    .option('--orphans', 'list instead, of one region or more, rows whose foreign key names no row')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', HELP)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
    .action(async (flags: VerifyFlags) => {
      process.exitCode = await verify(flags);
    });
}

async function verify(flags: VerifyFlags): Promise<number> {
  const progress = flags.json !== true && process.stderr.isTTY ? new ProgressLine(process.stderr) : undefined;
  try {
    if (flags.orphans === true) return await orphans(flags);
    const regions = await regionsOf(flags);
    if (regions.length < 2) throw fail('SYN-V004', `there is nothing to compare with: ${regions.length} region given`);
    const report = await verifyRegions({
      regions,
      ...(flags.tables === undefined ? {} : { tables: flags.tables }),
      settleMs: flags.settleMs,
      giveUpMs: flags.giveUpMs,
      ...(progress === undefined ? {} : { onProgress: (each) => progress.show(each) }),
    });
    progress?.clear();
    process.stdout.write(flags.json === true ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report));
    return exitCodeOf(report);
  } catch (error) {
    progress?.clear();
    reportError(error);
    return 2;
  }
}

async function orphans(flags: VerifyFlags): Promise<number> {
  const regions = await regionsOf(flags);
  if (regions.length === 0) throw fail('SYN-V004', 'no region is given');
  const report = await findOrphans(regions, flags.settleMs, flags.tables);
  process.stdout.write(flags.json === true ? `${JSON.stringify(report, null, 2)}\n` : renderOrphans(report));
  return report.broken.length === 0 ? 0 : 1;
}

async function regionsOf({ config, database, tables }: VerifyFlags): Promise<VerifiedRegion[]> {
  const regions = await Promise.all(
    config.map(async (path) => {
      const { region, database: url, tables: filter } = await loadConfig(path);
      return { region, url, tables: filter };
    }),
  );
  for (const value of database) {
    // It is not repeated where it is wrong: it may be an URL with a password.
    const [, region, url] = /^([^=/:]+)=(.+)$/s.exec(value) ?? [];
    if (region === undefined || url === undefined) throw fail('SYN-T005', '--database takes NAME=URL');
    regions.push({ region, url, tables: { include: [...(tables ?? ['public.*'])], exclude: [] } });
  }
  const names = regions.map(({ region }) => region);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw fail('SYN-C007', `the region ${twice} is given twice`);
  return regions;
}

const addDatabase = (value: string, previous: readonly string[]): string[] => [...previous, value];

function milliseconds(value: string): number {
  const parsed = Number(value);
  if (!/^\d+$/.test(value) || parsed > MS_MAX) throw new InvalidArgumentError(`expected 0 to ${MS_MAX}.`);
  return parsed;
}

/** One line that is rewritten in place. */
class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  #nextMs = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  show({ table, tableIndex, tableCount, rows, unsettled }: VerifyProgress): void {
    const now = performance.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + PROGRESS_EVERY_MS;
    const watched = unsettled > 0 ? `, ${unsettled.toLocaleString('en-US')} watched` : '';
    const line = `${tableIndex + 1}/${tableCount} ${table}: ${rows.toLocaleString('en-US')} rows${watched}`;
    this.#stream.write(`\r\x1b[2K${line.slice(0, this.#stream.columns - 1)}`);
  }

  clear(): void {
    this.#stream.write('\r\x1b[2K');
  }
}
