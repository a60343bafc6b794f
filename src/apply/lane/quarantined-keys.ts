/**
 * Which rows of a table have events in the quarantine, read once per table: a batch that writes such a row supersedes them,
 * and most tables have none. Whatever changes the quarantine has them read anew.
 */
import type { ApplyTransaction, RowKey, TableShape } from '../apply-port.ts';

export class QuarantinedKeys {
  readonly #tables = new Map<string, ReadonlySet<RowKey>>();

  changed(): void {
    this.#tables.clear();
  }

  async of(transaction: ApplyTransaction, shape: TableShape): Promise<ReadonlySet<RowKey>> {
    let keys = this.#tables.get(shape.id);
    if (keys === undefined) {
      keys = await transaction.quarantinedKeys(shape);
      this.#tables.set(shape.id, keys);
    }
    return keys;
  }

  /** The same of several tables. */
  async among(
    transaction: ApplyTransaction,
    shapes: readonly TableShape[],
  ): Promise<(shape: TableShape) => ReadonlySet<RowKey>> {
    const keys = new Map<string, ReadonlySet<RowKey>>();
    for (const shape of shapes) keys.set(shape.id, await this.of(transaction, shape));
    return (shape) => keys.get(shape.id) ?? new Set();
  }
}
