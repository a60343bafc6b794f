// `syncline merge test`: what a function would have made of conflicts, before any region runs it.
//
// Samples come from a file, or from the conflict log of a region. Each is given to the function three times, twice as it is
// and once with its columns in the opposite order, by sandboxes that know nothing of each other: a function whose
// result depends on anything but the values would merge one row differently from time to time.

import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Conflict } from '../api/schemas.ts';
import { microsToIso } from '../change/change-event.ts';
import { hlcFromText, hlcMicros } from '../change/hlc.ts';
import { SOURCE_MAX } from '../merge/merge-definition.ts';
import { fail } from '../platform/errors.ts';
import type { MergeAnswer } from '../resolve/fold.ts';
import type { MergeInput, MergeMeta, Row } from '../resolve/merge-types.ts';
import { MergeSandbox } from '../resolve/sandbox/merge-sandbox.ts';
import { type MergeVersion, makeMergeVersion } from '../resolve/sandbox/merge-version.ts';
import { type ApiFlags, addApiOptions, clientOf } from './api-client.ts';
import { renderTrial, type Trial } from './merge-trial-view.ts';
import { integer } from './option-values.ts';
import { print, printJson } from './output.ts';

const SAMPLES_MAX = 1_000;

type Flags = ApiFlags & {
  readonly json?: boolean;
  readonly conflicts?: string;
  readonly table?: string;
  readonly limit: number;
};
type GivenSample = Pick<MergeInput, 'a' | 'b'> & { readonly base?: Row | null; readonly meta?: Partial<MergeMeta> };
type Sample = GivenSample | Conflict;

export function addMergeTest(merge: Command): void {
  const command = merge
    .command('test')
    .description('Try a merge function on samples or logged conflicts; nothing is registered and no row changes.')
    .argument('<file>', 'the function, in TypeScript or JavaScript')
    .option('--conflicts <file>', 'samples as JSON: { base, a, b }, or what `syncline conflicts --json` prints')
    .option('--table <name>', 'without --conflicts: conflicts of this table, from the agent')
    .option('--limit <n>', 'how many of them', integer(1, SAMPLES_MAX), 50)
    .option('--json', 'print { samples, failed, nondeterministic, trials }');
  addApiOptions(command).action(async (file: string, flags: Flags) => {
    const source = await readText(file);
    if (source.length > SOURCE_MAX) {
      throw fail(
        'SYN-A084',
        `${file} has ${source.length} characters, more than the ${SOURCE_MAX} that a source may have`,
      );
    }
    const version = makeMergeVersion(source);
    const samples = flags.conflicts === undefined ? await logged(flags) : parseSamples(await readText(flags.conflicts));
    const trials = await tryAll(
      version,
      samples.slice(0, SAMPLES_MAX).flatMap((sample) => toInput(sample) ?? []),
    );
    const failed = trials.filter(({ fallback }) => fallback !== null).length;
    const nondeterministic = trials.filter(({ deterministic }) => !deterministic).length;
    if (failed + nondeterministic > 0) process.exitCode = 1;
    if (flags.json === true) return printJson({ samples: trials.length, failed, nondeterministic, trials });
    if (trials.length > 0) print(trials.map(renderTrial).join('\n'));
    print(`${trials.length} samples: ${failed} failed, ${nondeterministic} gave different results`);
  });
}

/** Runs the function on all inputs; SYN-A082 to A084 where it is none. */
export async function tryAll(version: MergeVersion, inputs: readonly MergeInput[]): Promise<Trial[]> {
  const run = async (of: readonly MergeInput[]): Promise<MergeAnswer[]> => {
    await using sandbox = new MergeSandbox();
    await sandbox.check(version);
    return await sandbox.run(of.map((input) => ({ hash: version.hash, input })));
  };
  const answers = await run(inputs);
  const others = [await run(inputs), await run(inputs.map(reversed))];
  return inputs.map((input, place) => {
    const answer = answers[place];
    const told = textOf(answer);
    return {
      input,
      result: answer !== undefined && 'image' in answer ? answer.image : null,
      fallback: answer !== undefined && 'fallback' in answer ? answer.fallback : null,
      deterministic: others.every((other) => textOf(other[place]) === told),
    };
  });
}

function reversed({ base, a, b, meta }: MergeInput): MergeInput {
  const turn = (row: Row): Row => Object.fromEntries(Object.entries(row).toReversed());
  return { base: base === null ? null : turn(base), a: turn(a), b: turn(b), meta: { ...meta, key: turn(meta.key) } };
}

/** The same text for the same values, in whichever order. */
function textOf(answer: MergeAnswer | undefined): string {
  if (answer === undefined || !('image' in answer)) return JSON.stringify(answer);
  return JSON.stringify(Object.entries(answer.image).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function logged(flags: Flags): Promise<Conflict[]> {
  const { table, limit } = flags;
  const client = await clientOf(flags);
  return (await client.get<{ items: Conflict[] }>('/conflicts', { table, limit })).items;
}

function parseSamples(text: string): Sample[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw fail('SYN-T107', 'the samples are no JSON', { cause });
  }
  const samples = typeof parsed === 'object' && parsed !== null && 'items' in parsed ? parsed.items : parsed;
  if (!Array.isArray(samples)) throw fail('SYN-T107', 'the samples are no list');
  return samples.map((sample: unknown, place) => {
    if (isSample(sample)) return sample;
    throw fail('SYN-T107', `sample ${place + 1} is neither { base, a, b } nor a record of the conflict log`);
  });
}

function isSample(value: unknown): value is Sample {
  if (typeof value !== 'object' || value === null) return false;
  if ('image_a' in value && 'image_b' in value) return true;
  return 'a' in value && 'b' in value && isRow(value.a) && isRow(value.b) && (!('base' in value) || isBase(value.base));
}

const isBase = (value: unknown): boolean => value === null || isRow(value);

function isRow(value: unknown): value is Row {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((each) => each === null || typeof each === 'string')
  );
}

/** Null for a conflict in which a row was removed, since no function is asked about that, and where values are withheld. */
function toInput(sample: Sample): MergeInput | null {
  if ('a' in sample) {
    const { a, b, base = null, meta } = sample;
    const unknown = { region: 'unknown', time: microsToIso(0n) };
    return { base, a, b, meta: { table: 'unknown', key: {}, a: unknown, b: unknown, ...meta } };
  }
  const { image_a: a, image_b: b, base_image: base, row_pk, schema_name, table_name } = sample;
  // Files may be from before records had it.
  const withheld: readonly string[] | undefined = sample.redacted;
  if (a === null || b === null || (withheld ?? []).length > 0) return null;
  const party = (region: string, hlc: string) => ({ region, time: microsToIso(hlcMicros(hlcFromText(hlc))) });
  const meta = {
    table: `${schema_name}.${table_name}`,
    key: row_pk ?? {},
    a: party(sample.loser_region, sample.loser_hlc),
    b: party(sample.winner_region, sample.winner_hlc),
  };
  return { base, a, b, meta };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw fail('SYN-T107', `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}
