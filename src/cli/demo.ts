// `syncline demo`: three regions on this machine, one lost and brought back, all compared in the end.
//
// Ctrl-C and SIGTERM end it in order: agents, databases, log, folder. A second one ends it at once, and
// then the watchdogs beside the processes clean up. With --json the story goes to standard error, and
// the last line of standard output is the result.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { LOG_TYPES, type LogType } from '../demo/demo-logs.ts';
import { runDemo } from '../demo/run-demo.ts';
import { Screen } from '../demo/screen.ts';
import { systemRandom } from '../platform/random.ts';
import { reportError } from './report-error.ts';

interface DemoFlags {
  readonly seconds: number;
  readonly log: LogType;
  readonly json?: boolean;
}

const SECONDS = 30;
const SECONDS_MIN = 5;
const SECONDS_MAX = 3_600;
/** npm passes Ctrl-C on to a process that had it from the terminal already: that is no second one. */
const IMPATIENCE_MS = 1_000;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('three regions on this machine: lose one, bring it back, compare all rows')
    .option('--seconds <seconds>', 'how long the shops take writes', parseSeconds, SECONDS)
    .addOption(
      new Option(
        '--log <type>',
        'where the streams live; kafka starts brokers, with Java and once Maven, or takes those of KAFKA_BROKERS',
      )
        .choices(LOG_TYPES)
        .default('embedded'),
    )
    .option('--json', 'end with the result as one JSON object on standard output')
    .action(async (flags: DemoFlags) => {
      process.exitCode = await demo(flags);
    });
}

async function demo({ seconds, log, json }: DemoFlags): Promise<number> {
  const stream = json === true ? process.stderr : process.stdout;
  const screen = new Screen(stream);
  const interrupt = new AbortController();
  let exitCode = 1;
  let interruptedMs = Number.NaN;
  const onSignal = (signal: keyof typeof SIGNALS): void => {
    exitCode = SIGNALS[signal];
    if (interrupt.signal.aborted) {
      if (performance.now() - interruptedMs > IMPATIENCE_MS) process.exit(exitCode);
      return;
    }
    interruptedMs = performance.now();
    screen.finish();
    screen.say('\nEnding all processes and removing their files …');
    interrupt.abort();
  };
  const signals = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];
  for (const signal of signals) process.on(signal, onSignal);
  // A reader that went away, such as `head`, ends the demo as Ctrl-C does.
  const onPipe = (): void => interrupt.abort();
  for (const each of [process.stdout, process.stderr]) each.on('error', onPipe);
  try {
    const result = await runDemo({ seconds, log, screen, random: systemRandom, signal: interrupt.signal });
    if (json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
    return result.converged ? 0 : 1;
  } catch (error) {
    if (interrupt.signal.aborted) return exitCode;
    screen.finish();
    return reportError(error);
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

function parseSeconds(value: string): number {
  const seconds = Number(value);
  if (!Number.isInteger(seconds) || seconds < SECONDS_MIN || seconds > SECONDS_MAX) {
    throw new InvalidArgumentError(`expected ${SECONDS_MIN} to ${SECONDS_MAX}.`);
  }
  return seconds;
}
