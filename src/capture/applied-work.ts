/**
 * Tells, message by message, whether the transaction that is under way is apply's own work, which is not to be published again.
 *
 * It carries a replication origin of ours; or, where the lane has none, it begins with a message that says so. Anybody who may
 * connect may emit a message of any prefix, and what is taken for applied is heard of nowhere else: so it has to know the secret that the
 * agent's role alone can read, and to come before any change.
 */
import type { LogicalMessage, PgoutputMessage } from './pgoutput-messages.ts';

export const APPLIED_PREFIX = 'syncline.applied';

const CHANGES: ReadonlySet<PgoutputMessage['kind']> = new Set(['insert', 'update', 'delete', 'truncate']);

export class AppliedWork {
  readonly #ownOriginPrefix: string;
  readonly #secret: Buffer | null;
  #isApplied = false;
  #hasChanges = false;

  /** Origins whose names begin with that prefix are those of apply in this database. */
  constructor(ownOriginPrefix: string, secret: string | null) {
    this.#ownOriginPrefix = ownOriginPrefix;
    this.#secret = secret === null ? null : Buffer.from(secret);
  }

  /** Whether the transaction of the last message is, as far as it was told. */
  get isUnderWay(): boolean {
    return this.#isApplied;
  }

  /** Takes the next message of the stream. Changes of rows may be left out once it is known. */
  next(message: PgoutputMessage): void {
    const { kind } = message;
    if (kind === 'begin') {
      this.#isApplied = false;
      this.#hasChanges = false;
    } else if (kind === 'origin') this.#isApplied = message.name.startsWith(this.#ownOriginPrefix);
    else if (kind === 'message' && message.transactional) {
      if (!this.#hasChanges && this.#isSigned(message)) this.#isApplied = true;
      this.#hasChanges = true;
    } else if (CHANGES.has(kind)) this.#hasChanges = true;
  }

  #isSigned({ prefix, content }: LogicalMessage): boolean {
    return prefix === APPLIED_PREFIX && this.#secret !== null && content.equals(this.#secret);
  }
}
