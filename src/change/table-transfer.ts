/**
 * Words of the transfer of a table that is published late, for whoever writes, captures or applies them.
 *
 * A row is told of through the WAL, as a transactional logical message: so it becomes an event of the region's own stream, in
 * its place between the changes of users. Anybody who may connect may emit a message of any prefix, so one that does not know
 * the secret that the agent's role alone can read is passed over.
 */
import type { Image } from './change-event.ts';

export const CLAIM_PREFIX = 'syncline.claim';

/** Under this key, the secret stands in `syncline.meta`. */
export const SECRET_KEY = 'decision_secret';

/** Under this key and the oid of a table that was published late, `syncline.meta` holds the name under which it was. */
export const NAME_KEY = 'transfer_name:';

export function nameNote({ schema, table }: { readonly schema: string; readonly table: string }): string {
  return JSON.stringify([schema, table]);
}

/** The row as it is, under its own version; both stamps are texts. */
export type ClaimMessage = {
  readonly secret: string;
  readonly schema: string;
  readonly table: string;
  readonly key: readonly string[];
  readonly after: Image;
  readonly version: string;
  readonly since: string;
};
