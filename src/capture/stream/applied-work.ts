/**
 * Tells, message by message, whether the transaction that is under way is apply's own work, which is not to be published again.
 *
 * It carries a replication origin of ours; or, where the lane has none, it begins with a message that says so. Anybody who may
 * connect may emit a message of any prefix, and what is taken for applied is heard of nowhere else. So it has to come before any change, and to
 * name a word that is made of this transaction's id and a secret that the agent's role alone can read: of no use to whoever decodes it.
 */
import { createHash } from 'node:crypto';
import type { LogicalMessage, PgoutputMessage } from './pgoutput-messages.ts';

export const APPLIED_PREFIX = 'syncline.applied';

const CHANGES: ReadonlySet<PgoutputMessage['kind']> = new Set(['insert', 'update', 'delete', 'oversized', 'truncate']);

/** What `syncline.sign` says of a transaction. */
export function appliedWord(secret: string, xid: number): string {
  return createHash('sha256').update(`${secret}:${xid}`).digest('hex');
}

export class AppliedWork {
  readonly #ownOriginPrefix: string;
  readonly #secret: string | null;
  #xid = 0;
  #isApplied = false;
  #hasChanges = false;

  /** Origins whose names begin with that prefix are those of apply in this database. */
  constructor(ownOriginPrefix: string, secret: string | null) {
    this.#ownOriginPrefix = ownOriginPrefix;
    this.#secret = secret;
  }

  /** Whether the transaction of the last message is, as far as it was told. */
  get isUnderWay(): boolean {
    return this.#isApplied;
  }

  /** Takes the next message of the stream. Changes of rows may be left out once it is known. */
  next(message: PgoutputMessage): void {
    const { kind } = message;
    if (kind === 'begin') {
      this.#xid = message.xid;
      this.#isApplied = false;
      this.#hasChanges = false;
    } else if (kind === 'origin') this.#isApplied = message.name.startsWith(this.#ownOriginPrefix);
    else if (kind === 'message' && message.transactional) {
      if (!this.#hasChanges && this.#isSigned(message)) this.#isApplied = true;
      this.#hasChanges = true;
    } else if (!this.#hasChanges) this.#hasChanges = CHANGES.has(kind);
  }

  #isSigned({ prefix, content }: LogicalMessage): boolean {
    if (prefix !== APPLIED_PREFIX || this.#secret === null) return false;
    return content.toString('latin1') === appliedWord(this.#secret, this.#xid);
  }
}
