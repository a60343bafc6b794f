// docs/events.schema.json, and the tables of fields in docs/events.md, say what src/change/event-schema.ts declares. A table
// stands behind the comment that names its record; all other text of the page is free. With --write, both are renewed.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RECORD_SCHEMAS } from '../src/change/event-schema.ts';
import type { Check } from './source-tree.ts';

const PAGE = 'docs/events.md';
const SCHEMA = 'docs/events.schema.json';
const HEADER = '| field | type | meaning |\n| --- | --- | --- |';
const TABLE = /^<!-- fields of (\w+) -->\n(?:\|.*\n)*/gm;

type Part = {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly const?: unknown;
  readonly anyOf?: readonly Part[];
  readonly items?: Part | readonly Part[];
  readonly properties?: Readonly<Record<string, Part>>;
  readonly required?: readonly string[];
};

export const checkEventsDoc: Check = (tree) => {
  const page = tree.get(PAGE) ?? '';
  const complaints: string[] = [];
  if (tree.get(SCHEMA) !== schemaText()) complaints.push(SCHEMA);
  if (page !== renewEventsDoc(page)) complaints.push(PAGE);
  for (const name of Object.keys(RECORD_SCHEMAS)) {
    if (!page.includes(`<!-- fields of ${name} -->`)) complaints.push(`${PAGE}: no table for ${name};`);
  }
  return complaints.map((what) => `${what} differs from src/change/event-schema.ts (npm run docs:events)`);
};

export function schemaText(): string {
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Records of a stream of Syncline',
    description: 'What the value of a record is, its header `kind` tells. Further fields are allowed everywhere.',
    definitions: RECORD_SCHEMAS,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** The page with its tables as they should be. */
export function renewEventsDoc(page: string): string {
  return page.replaceAll(TABLE, (found, name: string) => {
    const schema = (RECORD_SCHEMAS as Readonly<Record<string, Part>>)[name];
    return schema === undefined ? found : `<!-- fields of ${name} -->\n${HEADER}\n${rowsOf(schema, '').join('\n')}\n`;
  });
}

/** A row for each field; those of an object, or of the objects of a list, follow it. */
function rowsOf({ properties = {}, required = [] }: Part, prefix: string): string[] {
  return Object.entries(properties).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const absent = required.includes(name) ? '' : ', may be absent';
    const row = `| \`${path}\` | ${typeOf(field)}${absent} | ${cell(field.description ?? '')} |`;
    const lists = [field, ...(field.anyOf ?? [])].flatMap(({ items }) => (isPart(items) ? [items] : []));
    return [row, ...rowsOf(field, `${path}.`), ...lists.flatMap((item) => rowsOf(item, `${path}[].`))];
  });
}

const isPart = (items: Part['items']): items is Part => items !== undefined && !Array.isArray(items);

function typeOf(field: Part): string {
  if (field.enum !== undefined) return field.enum.map((value) => `\`${value}\``).join(', ');
  if (field.const !== undefined) return `\`${JSON.stringify(field.const)}\``;
  if (field.anyOf !== undefined) return field.anyOf.map(typeOf).join(' or ');
  return [field.type ?? 'any'].flat().join(' or ');
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

if (import.meta.main && process.argv.includes('--write')) {
  const root = join(import.meta.dirname, '..');
  await writeFile(join(root, SCHEMA), schemaText());
  await writeFile(join(root, PAGE), renewEventsDoc(await readFile(join(root, PAGE), 'utf8')));
}
