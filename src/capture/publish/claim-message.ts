/** A row that the region tells of (`src/transfer/row-teller.ts`), as it comes back through the WAL. */
import type { ClaimMessage } from '../../change/table-transfer.ts';
import type { RowChange } from './decoded-transaction.ts';
import { isImage } from './operator-message.ts';

/** Null for what is none: anybody may emit a message of any prefix. */
export function parseClaimMessage(content: Buffer, secret: string | null): RowChange | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content.toString('utf8'));
  } catch {
    return null;
  }
  if (!isClaim(parsed) || parsed.secret !== secret) return null;
  const { schema, table, key, after, version, since } = parsed;
  return { schema, table, operation: 'INSERT', key, before: null, after, claim: { version, since } };
}

const STAMP = /^\d{19}$/;

function isClaim(value: unknown): value is ClaimMessage {
  if (typeof value !== 'object' || value === null) return false;
  const { secret, schema, table, key, after, version, since } = value as { [name in keyof ClaimMessage]: unknown };
  if (typeof secret !== 'string' || typeof schema !== 'string' || typeof table !== 'string') return false;
  if (typeof version !== 'string' || typeof since !== 'string' || !STAMP.test(version) || !STAMP.test(since))
    return false;
  if (!Array.isArray(key) || key.length === 0 || !isImage(after)) return false;
  return key.every((column) => typeof column === 'string' && Object.hasOwn(after, column));
}
