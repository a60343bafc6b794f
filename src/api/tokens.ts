/** Who may call what: bearer tokens with a role. Without any token configured everybody may, which only loopback can have. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Config } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';

export type Role = Config['api']['tokens'][number]['role'];

const RANK: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };

/** Throws SYN-T003 where the token is unknown, SYN-T004 where its role is too low. */
export function authorize(tokens: Config['api']['tokens'], header: string | undefined, needed: Role): void {
  if (tokens.length === 0) return;
  const given = digest(/^Bearer (.+)$/.exec(header ?? '')?.[1] ?? '');
  let role: Role | null = null;
  // All are compared, in constant time each: how long it takes tells nothing.
  for (const token of tokens) if (timingSafeEqual(digest(token.token), given)) role = token.role;
  if (role === null) throw fail('SYN-T003', 'the request carries no token that is known here');
  if (RANK[role] < RANK[needed]) throw fail('SYN-T004', `the token is of a ${role}, the request needs ${needed}`);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
