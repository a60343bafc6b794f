// What is wrong with a value, by a typebox schema: every problem at once, each with its path, in
// words for the person who wrote the value. An unknown key is a problem too, since it is mostly a
// misspelled one whose default would silently win.

import type { TSchema } from 'typebox';
import { Settings } from 'typebox/system';
import { Errors } from 'typebox/value';

export interface SchemaProblem {
  /** `api.tokens[0].role`; empty for the whole. */
  readonly path: string;
  readonly kind: 'unknown-key' | 'invalid';
  readonly message: string;
}

const PROBLEMS_MAX = 200;
const DISTANCE_MAX = 2;

export function problemsOf(schema: TSchema, value: unknown): SchemaProblem[] {
  // The library stops after eight errors unless told otherwise.
  Settings.Set({ maxErrors: PROBLEMS_MAX });
  const problems: SchemaProblem[] = [];
  for (const error of Errors(schema, value)) {
    const path = pathOf(error.instancePath);
    if (error.keyword === 'additionalProperties') {
      const known = Object.keys(propertiesAt(schema, error.schemaPath));
      for (const key of error.params.additionalProperties) {
        problems.push({ path: join(path, key), kind: 'unknown-key', message: unknownKey(key, known) });
      }
    } else if (error.keyword === 'required') {
      for (const key of error.params.requiredProperties) {
        problems.push({ path: join(path, key), kind: 'invalid', message: 'is missing' });
      }
    } else if (error.keyword === 'enum') {
      problems.push({ path, kind: 'invalid', message: `must be one of ${error.params.allowedValues.join(', ')}` });
    } else if (error.keyword !== 'boolean') {
      // `boolean` repeats each additional property; all else is worded well by the library.
      problems.push({ path, kind: 'invalid', message: error.message });
    }
  }
  return problems;
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

/** `/api/tokens/0` as `api.tokens[0]`. */
function pathOf(pointer: string): string {
  const steps = pointer.split('/').slice(1);
  return steps
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, step) => (/^\d+$/.test(step) ? `${path}[${step}]` : join(path, step)), '');
}

function propertiesAt(schema: TSchema, schemaPath: string): object {
  let current: unknown = schema;
  for (const step of schemaPath.split('/').slice(1)) current = (current as Record<string, unknown>)[step];
  return (current as { properties?: object }).properties ?? {};
}

function unknownKey(key: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(key.toLowerCase(), name) }))
    .filter(({ name, distance }) => distance <= DISTANCE_MAX || name.startsWith(key) || key.startsWith(name))
    .sort((a, b) => a.distance - b.distance);
  if (nearest !== undefined) return `is no setting; did you mean ${nearest.name}?`;
  return `is no setting; there are ${known.join(', ')}`;
}

/** Levenshtein's distance: how many letters were added, lost or swapped for others. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
