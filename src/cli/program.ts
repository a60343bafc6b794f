// The command line. Each command is a module of its own, loaded only when it is asked for, so that an
// idle agent holds nothing of the others and every command starts quickly.
//
// What goes wrong for a reason that an operator can mend is printed with code, cause and remedy, and
// without a stack. Only what nobody foresaw shows one. The exit code is 0 for success alone.

import { Command } from 'commander';
import { scrub } from '../platform/logger.ts';
import { reportError } from './report-error.ts';

type Entry = { readonly summary: string; readonly register: (program: Command) => Promise<void> };

const COMMANDS: Readonly<Record<string, Entry>> = {
  agent: {
    summary: 'serve a region until told to stop',
    register: async (program) => {
      program
        .command('agent')
        .description('Serve a region until told to stop (SIGTERM or SIGINT).')
        .requiredOption('-c, --config <file>', 'configuration of the region')
        .action(async (options: { config: string }) => {
          const { runAgent } = await import('./agent.ts');
          await runAgent(options.config);
        });
    },
  },
  doctor: {
    summary: 'find what a region lacks, and print what mends it',
    register: async (program) => (await import('./doctor.ts')).registerDoctor(program),
  },
  status: {
    summary: 'show how links, capture and apply are',
    register: async (program) => (await import('./status.ts')).registerStatus(program),
  },
  topology: {
    summary: 'list regions and links',
    register: async (program) => (await import('./topology.ts')).registerTopology(program),
  },
  link: {
    summary: 'pause or resume a link',
    register: async (program) => (await import('./link.ts')).registerLink(program),
  },
  conflicts: {
    summary: 'show writes that lost against others, column by column',
    register: async (program) => (await import('./conflicts.ts')).registerConflicts(program),
  },
  merge: {
    summary: 'decide how rows merge that regions write at once, and roll that out',
    register: async (program) => (await import('./merge.ts')).registerMerge(program),
  },
  quarantine: {
    summary: 'list, retry or discard events that could not be applied',
    register: async (program) => (await import('./quarantine.ts')).registerQuarantine(program),
  },
  verify: {
    summary: 'compare the tables of two or more regions while writes go on',
    register: async (program) => (await import('./verify.ts')).registerVerify(program),
  },
  'prepare-upgrade': {
    summary: 'bring a region to rest, before pg_upgrade of its server',
    register: async (program) => (await import('./prepare-upgrade.ts')).registerPrepareUpgrade(program),
  },
  uninstall: {
    summary: "remove everything of Syncline from a region's database",
    register: async (program) => (await import('./uninstall.ts')).registerUninstall(program),
  },
  demo: {
    summary: 'three regions on this machine: lose one, bring it back, compare all rows',
    register: async (program) => (await import('./demo.ts')).registerDemo(program),
  },
};

/** Runs the command; resolves with the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const program = new Command('syncline')
    .description('Active-active replication for stock PostgreSQL.')
    // What it cannot take it repeats, and that may be an URL with a password.
    .configureOutput({ outputError: (text, write) => write(String(scrub(text))) });
  const name = args[0] === 'help' ? args[1] : args[0];
  for (const [each, { summary, register }] of Object.entries(COMMANDS)) {
    if (each === name) await register(program);
    else program.command(each).description(summary);
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return reportError(error);
  }
}
