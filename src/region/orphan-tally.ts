/** How many rows were found whose parent was removed elsewhere, and where they may be missed. */
import { OrphanFinder } from '../apply/upkeep/orphan-finder.ts';
import type { Problem } from '../monitor/agent-status.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import type { PostgresClient } from '../platform/postgres.ts';
import { isTableIncluded } from '../platform/table-filter.ts';

export class OrphanTally {
  readonly #config: Pick<Config, 'tables' | 'conflicts'>;
  readonly #logger: Logger;
  readonly #found: Record<string, number> = {};
  /** By foreign key, why its orphans are not all found. */
  readonly #missed = new Map<string, Problem>();

  constructor(config: Pick<Config, 'tables' | 'conflicts'>, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
  }

  /** Rows found since the agent started, by `schema.table`. */
  get byTable(): Readonly<Record<string, number>> {
    return { ...this.#found };
  }

  get problems(): readonly Problem[] {
    return [...this.#missed.values()];
  }

  /** Looks for them over that connection. */
  finder(client: PostgresClient): OrphanFinder {
    const { tables, conflicts } = this.#config;
    return new OrphanFinder({
      client,
      redact: conflicts.redact,
      isReplicated: (schema, table) => isTableIncluded(tables, schema, table),
      onFound: (table, count) => {
        this.#found[table] = (this.#found[table] ?? 0) + count;
        this.#logger.warn(
          { table, rows: count },
          'rows name a row that was removed elsewhere: they are in the conflict log',
        );
      },
      onMissed: (foreignKey, missed) => {
        if (missed === null) this.#missed.delete(foreignKey);
        else this.#missed.set(foreignKey, missed);
        if (missed !== null)
          this.#logger.warn(missed, 'rows that lost their parent may be missing in the conflict log');
      },
    });
  }
}
