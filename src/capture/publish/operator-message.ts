/**
 * What an operator decides about a parked row, on its way through the WAL.
 *
 * A parked row is in no table, so no statement could change it. The decision is a transactional logical message instead: it
 * becomes an event of the region's own stream, stamped like any other, and every region treats it as a write of that
 * moment, this one included once its echo comes. Anybody who may connect may emit a message of any prefix, so one that does
 * not say what it must, or does not know the secret that the agent's role alone can read, is passed over.
 */
import type { Image } from '../../change/change-event.ts';
import type { RowChange } from './decoded-transaction.ts';

export const OPERATOR_PREFIX = 'syncline.operator';

/** `after` is null where the row is discarded. The key's columns are those of `pk`, in its order. */
export type OperatorDecision = {
  readonly secret: string;
  readonly schema: string;
  readonly table: string;
  readonly pk: Image;
  readonly before: Image;
  readonly after: Image | null;
};

/** Null for what is no decision. */
export function parseOperatorMessage(content: Buffer, secret: string | null): RowChange | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content.toString('utf8'));
  } catch {
    return null;
  }
  if (!isDecision(parsed) || parsed.secret !== secret) return null;
  const { schema, table, pk, before, after } = parsed;
  const key = Object.keys(pk);
  const operation = after === null ? 'DELETE' : 'UPDATE';
  return { schema, table, operation, key, before, after, operator: true };
}

function isDecision(value: unknown): value is OperatorDecision {
  if (typeof value !== 'object' || value === null) return false;
  const { secret, schema, table, pk, before, after } = value as { [name in keyof OperatorDecision]: unknown };
  if (typeof secret !== 'string' || typeof schema !== 'string' || typeof table !== 'string') return false;
  if (!isImage(pk) || !isImage(before) || (after !== null && !isImage(after))) return false;
  const columns = Object.keys(pk);
  return columns.length > 0 && columns.every((column) => Object.hasOwn(before, column));
}

export function isImage(value: unknown): value is Image {
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).every((each) => each === null || typeof each === 'string');
}
