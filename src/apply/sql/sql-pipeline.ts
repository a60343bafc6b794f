/**
 * The statements of one transaction, sent as they come and answered in their order.
 *
 * The first failure fails the transaction. The server refuses whatever was sent behind it (25P02), which says nothing;
 * so those calls are rejected with the first failure as well, whichever of them the caller looks at first.
 *
 * Nothing of the transaction is sent behind its end: it would count by itself there. Whoever works on several rows at
 * once may still be about to send something when one of them has failed and all is rolled back. Behind a commit goes the
 * question where the WAL ends by then, in the same write.
 *
 * Nor may anything count by itself where the transaction never began: a cancellation or a timeout can strike while the server
 * reads the beginning, and what was sent behind it then runs outside of a transaction, each statement its own. So the
 * session may only read (`PREPARE_SESSION`), and every transaction of it says that it writes.
 */
import { lsnFromText } from '../../change/position.ts';
import { fail, sqlStateOf } from '../../platform/errors.ts';
import type { PostgresClient, QueryOptions, TextResult, TextValue } from '../../platform/postgres.ts';

/** In a failed transaction, and outside of one. */
const REFUSED_UNBEGUN: ReadonlySet<string> = new Set(['25P02', '25006']);
const WAL_END = 'select pg_current_wal_insert_lsn()';

/** What a session runs before it has pipelines: outside of their transactions it refuses to write (SQLSTATE 25006). */
export const PREPARE_SESSION = 'set default_transaction_read_only = on';

type Session = Pick<PostgresClient, 'query' | 'queryArrays'>;

export type ValueRow = readonly TextValue[];

export class SqlPipeline {
  readonly #client: Session;
  #failure: unknown = null;
  #begun: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(client: Session) {
    this.#client = client;
  }

  /**
   * Begins the transaction with these statements, and waits for no answer: where it fails, the server refuses whatever comes behind
   * it, and that is rejected with `toError` of the failure.
   */
  begin(opening: string, toError: (cause: unknown) => unknown): void {
    this.#begun = this.#client.query(`begin read write; ${opening}`).then(
      () => undefined,
      (cause: unknown) => {
        this.#failure = toError(cause);
      },
    );
  }

  /** Sends a statement that runs again and again. */
  async run(sql: string, values: readonly TextValue[] = []): Promise<TextResult<ValueRow>> {
    return await this.#send(sql, values, { prepare: true });
  }

  /** Sends a statement that is rare, or whose plan must not be kept. */
  async runOnce(sql: string, values: readonly TextValue[] = []): Promise<TextResult<ValueRow>> {
    return await this.#send(sql, values, {});
  }

  /**
   * Returns where the WAL ends behind the commit. SYN-A002, with the first failure as its cause, unless the server says COMMIT;
   * where it has said so and the rest of its answer is lost, the error is the connection's.
   */
  async commit(): Promise<bigint> {
    this.#mustGoOn();
    const committing = this.#send('commit', [], {});
    this.#isOver = true;
    const asking = this.#client.queryArrays<[string]>(WAL_END, [], { prepare: true });
    // Whoever awaits it is told.
    asking.catch(() => undefined);
    const { command } = await committing;
    await this.#begun;
    // Where there was no transaction, the server warns and says COMMIT all the same.
    if (command !== 'COMMIT' || this.#failure !== null) {
      throw fail('SYN-A002', `COMMIT was answered with ${command}`, { cause: this.#failure ?? undefined });
    }
    const [row] = (await asking).rows;
    return lsnFromText(row?.[0] ?? '');
  }

  async rollback(): Promise<void> {
    this.#isOver = true;
    await this.#client.query('rollback');
  }

  async #send(sql: string, values: readonly TextValue[], options: QueryOptions): Promise<TextResult<ValueRow>> {
    this.#mustGoOn();
    try {
      return await this.#client.queryArrays<ValueRow>(sql, values, options);
    } catch (error) {
      await this.#begun;
      this.#failure ??= error;
      throw REFUSED_UNBEGUN.has(sqlStateOf(error) ?? '') ? this.#failure : error;
    }
  }

  #mustGoOn(): void {
    if (this.#isOver) throw this.#failure ?? fail('SYN-A002', 'a statement came behind the end of its transaction');
  }
}

/** Runs one statement that writes in a transaction of its own, in one write to the server. */
export async function writeAlone(
  client: Session,
  sql: string,
  values: readonly TextValue[],
): Promise<TextResult<ValueRow>> {
  const pipeline = new SqlPipeline(client);
  pipeline.begin('', (cause) => cause);
  const writing = pipeline.run(sql, values);
  const committing = pipeline.commit();
  // Where the statement fails, the commit does too, and says no more.
  committing.catch(() => undefined);
  const result = await writing;
  await committing;
  return result;
}
