// Who may call the API: bearer tokens with a role each, the roles one above the other.
//
// Tokens are compared by their digests, in constant time and to the end of the list, so the time of an
// answer tells nothing about them. Without tokens (a loopback address only) whoever reaches the port
// is the administrator; a web page could make a browser reach it, so requests then have to name a
// loopback host, and none may come from a page of another site.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../platform/config.ts';
import { fail } from '../platform/errors.ts';

export type Role = 'viewer' | 'operator' | 'admin';

const RANK: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;
const LOOPBACK_ORIGIN = /^https?:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

const digest = (token: string): Buffer => createHash('sha256').update(token).digest();

export class Access {
  readonly #tokens: readonly { readonly digest: Buffer; readonly role: Role }[];

  constructor(tokens: Config['api']['tokens']) {
    this.#tokens = tokens.map(({ token, role }) => ({ digest: digest(token), role }));
  }

  /** Throws SYN-T003 without a known token and SYN-T004 where its role is too low. */
  check(headers: IncomingHttpHeaders, needed: Role): void {
    if (this.#tokens.length === 0) {
      checkLoopback(headers);
      return;
    }
    const given = /^Bearer +([^ ]+) *$/i.exec(headers.authorization ?? '')?.[1];
    if (given === undefined) throw fail('SYN-T003', 'the request has no bearer token');
    const role = this.#roleOf(given);
    if (role === undefined) throw fail('SYN-T003', 'the token is not known');
    if (RANK[role] < RANK[needed]) throw fail('SYN-T004', `this takes the role ${needed}, and the token has ${role}`);
  }

  #roleOf(given: string): Role | undefined {
    const wanted = digest(given);
    let found: Role | undefined;
    for (const token of this.#tokens) {
      if (timingSafeEqual(token.digest, wanted)) found ??= token.role;
    }
    return found;
  }
}

function checkLoopback({ host, origin }: IncomingHttpHeaders): void {
  if (!LOOPBACK_HOST.test(host ?? '')) {
    throw fail('SYN-T003', `without tokens the API answers to loopback names only, not to ${host ?? 'none'}`);
  }
  if (origin !== undefined && !LOOPBACK_ORIGIN.test(origin)) {
    throw fail('SYN-T003', `without tokens the API takes nothing from pages of ${origin}`);
  }
}
