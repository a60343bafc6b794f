// How commands write: data as JSON for programs, or as text in which colour only stresses.

import { styleText } from 'node:util';

type Style = 'red' | 'yellow' | 'green' | 'dim' | 'bold' | 'cyan';

/** Coloured where standard output is a terminal that wants it. */
export const paint = (style: Style, text: string): string =>
  text === '' ? '' : styleText(style, text, { stream: process.stdout });

/** As a shell tells of a program that SIGPIPE ended, which Node ignores. */
const CLOSED_PIPE = 141;

/** A command ends without a word once nobody reads what it prints any more: `syncline conflicts | head`. */
export function endsWithReader(output: NodeJS.WriteStream): void {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(CLOSED_PIPE);
  });
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

export const count = (value: number): string => value.toLocaleString('en-US');

export function duration(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 10) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 10_000) return `${count(Math.round(ms))} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function bytes(value: number | null): string {
  if (value === null) return '–';
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let rest = value;
  let unit = 0;
  for (; rest >= 1_024 && unit < units.length - 1; unit += 1) rest /= 1_024;
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}
