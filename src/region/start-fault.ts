/**
 * Which faults a start gets over by waiting. The database says by SQLSTATE what passes: it goes down, a statement took too
 * long or was in a deadlock. What has a code of its own is for an operator to mend, who is told by the end of the agent; only
 * a database that is away is waited for, since machines start their services in any order.
 */
import { fail, isInfrastructure, SynclineError } from '../platform/errors.ts';

/** The fault, with a code to tell it by; null for what a start has to end with. */
export function passingFault(error: unknown): SynclineError | null {
  if (error instanceof SynclineError) return error.code === 'SYN-P009' ? error : null;
  if (!isInfrastructure(error)) return null;
  return fail('SYN-P057', error instanceof Error ? error.message : String(error), { cause: error });
}
