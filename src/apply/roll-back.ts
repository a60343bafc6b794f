/** Ends a transaction that failed. */
import { isInfrastructure } from '../platform/errors.ts';
import type { ApplyTransaction } from './apply-port.ts';

export async function rollback(transaction: ApplyTransaction): Promise<void> {
  try {
    await transaction.rollback();
  } catch (error) {
    // The first error is the one that counts; a connection that cannot even roll back is closed by its owner.
    if (!isInfrastructure(error)) throw error;
  }
}
