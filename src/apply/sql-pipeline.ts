/**
 * The statements of one transaction, sent as they come and answered in their order.
 *
 * The first failure fails the transaction. The server refuses whatever was sent behind it (25P02), which says nothing;
 * so those calls are rejected with the first failure as well, whichever of them the caller looks at first.
 *
 * Nothing of the transaction is sent behind its end: it would count by itself there. Whoever works on several rows at
 * once may still be about to send something when one of them has failed and all is rolled back. Behind a commit goes the
 * question where the WAL ends by then, in the same write.
 */
import { lsnFromText } from '../change/position.ts';
import { fail, sqlStateOf } from '../platform/errors.ts';
import type { PostgresClient, QueryOptions, TextResult, TextValue } from '../platform/postgres.ts';

const REFUSED_IN_FAILED_TRANSACTION = '25P02';
const WAL_END = 'select pg_current_wal_insert_lsn()';

export type ValueRow = readonly TextValue[];

export class SqlPipeline {
  readonly #client: Pick<PostgresClient, 'query' | 'queryArrays'>;
  #failure: unknown = null;
  #begun: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(client: Pick<PostgresClient, 'query' | 'queryArrays'>) {
    this.#client = client;
  }

  /**
   * Sends what begins the transaction, and waits for no answer: where it fails, the server refuses whatever comes behind it, and
   * that is rejected with `toError` of the failure.
   */
  begin(sql: string, toError: (cause: unknown) => unknown): void {
    this.#begun = this.#client.query(sql).then(
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
    if (command !== 'COMMIT') {
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
      throw sqlStateOf(error) === REFUSED_IN_FAILED_TRANSACTION ? this.#failure : error;
    }
  }

  #mustGoOn(): void {
    if (this.#isOver) throw this.#failure ?? fail('SYN-A002', 'a statement came behind the end of its transaction');
  }
}
