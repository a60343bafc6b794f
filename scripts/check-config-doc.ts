// docs/configuration.md ends with every setting of the schemas: name, default, what it may be, what it means. With --write, that
// part is written anew; what stands before it is free.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import { ConfigSchema } from '../src/platform/config.ts';
import { Embedded, Kafka } from '../src/platform/log-config.ts';
import type { Check } from './source-tree.ts';

const PAGE = 'docs/configuration.md';
const HEADING = '## Every setting\n';

/** The parts of JSON Schema that the configuration is written in. */
type Schema = {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
};

export const checkConfigDoc: Check = (tree) => {
  const page = tree.get(PAGE) ?? '';
  const [, told] = page.split(HEADING);
  return told === `\n${reference()}` ? [] : [`${PAGE}: the settings differ from the schemas (npm run docs:config)`];
};

const plain = (schema: TSchema): Schema => JSON.parse(JSON.stringify(schema)) as Schema;

function reference(): string {
  const { log: _log, ...own } = plain(ConfigSchema).properties ?? {};
  return [
    ...table(settingsOf({ ...plain(ConfigSchema), properties: own })),
    '',
    'Of `log`, where its `type` is `embedded`:',
    '',
    ...table(settingsOf(plain(Embedded), 'log.')),
    '',
    'Of `log`, where its `type` is `kafka`:',
    '',
    ...table(settingsOf(plain(Kafka), 'log.')),
    '',
    "`peers[].log` has the same place where a peer's stream lives elsewhere: of the embedded log `path`; of Kafka everything but",
    '`compression`, `replication_factor` and `keep_hours`, and what it leaves out is taken from `log`.',
    '',
  ].join('\n');
}

/** One row for each value, groups of values taken apart. */
export function settingsOf(schema: Schema, prefix = ''): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, setting]) => {
    const path = `${prefix}${name}`;
    const items = setting.items ?? {};
    const isNeeded = schema.required?.includes(name) === true && setting.default === undefined;
    const byDefault = isNeeded ? 'needed' : setting.default === undefined ? '' : code(setting.default);
    if (setting.properties !== undefined) {
      const group = setting.description === undefined ? [] : [[code(path), '', '', setting.description]];
      return [...group, ...settingsOf(setting, `${path}.`)];
    }
    const inner = items.properties === undefined ? [] : settingsOf(items, `${path}[].`);
    const meaning = [setting.description, inner.length === 0 ? items.description : undefined].filter(Boolean).join(' ');
    if (meaning === '') throw new Error(`${path} has no description`);
    return [[code(path), byDefault, rangeOf(setting), meaning], ...inner];
  });
}

function rangeOf({ type, enum: values, minimum, maximum }: Schema): string {
  if (values !== undefined) return values.map(code).join(', ');
  if (type === 'boolean') return '`true`, `false`';
  if (type === 'array') return 'a list';
  if (minimum === undefined && maximum === undefined) return type === 'string' ? 'a text' : '';
  return maximum === undefined ? `${minimum} or more` : `${minimum} to ${maximum}`;
}

const code = (value: unknown): string => `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;

const table = (rows: readonly (readonly string[])[]): string[] => [
  '| setting | default | may be | |',
  '| --- | --- | --- | --- |',
  ...rows.map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`),
];

if (import.meta.main && process.argv.includes('--write')) {
  const path = join(import.meta.dirname, '..', PAGE);
  const [before = ''] = (await readFile(path, 'utf8')).split(HEADING);
  await writeFile(path, `${before}${HEADING}\n${reference()}`);
}
