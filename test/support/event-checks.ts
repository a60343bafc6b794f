// Holds records of a stream against the schema that is published for other programs.

import assert from 'node:assert/strict';
import type { TSchema } from 'typebox';
import { Errors } from 'typebox/value';
import { RECORD_SCHEMAS } from '../../src/change/event-schema.ts';

type Named = keyof typeof RECORD_SCHEMAS;

export function checkRecord(name: Named, value: unknown): void {
  const schema: TSchema = RECORD_SCHEMAS[name];
  const problems = Errors(schema, value).map(({ instancePath, message }) => `${instancePath} ${message}`);
  assert.deepEqual(problems, [], `${name} ${JSON.stringify(value).slice(0, 2_000)}`);
}

/** Paths of the fields that a value has and the schema does not tell of; what images and other maps hold counts for nothing. */
export function untoldFields(name: Named, value: object): string[] {
  const schema: object = RECORD_SCHEMAS[name];
  return untold(schema, value, '');
}

type Shape = { readonly properties?: Readonly<Record<string, Shape>> };

function untold({ properties }: Shape, value: unknown, path: string): string[] {
  if (properties === undefined || typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([field, inner]) => {
    const told = Object.hasOwn(properties, field) ? properties[field] : undefined;
    return told === undefined ? [`${path}${field}`] : untold(told, inner, `${path}${field}.`);
  });
}
