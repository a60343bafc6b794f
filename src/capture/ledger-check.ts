/**
 * Whether capture may stamp by the ledger, asked when a session begins.
 *
 * The ledger holds what apply has read of its own connection's server. After a failover that one may still be the server
 * before, and after a crash it is the one before the crash, whose last batches may be gone: nobody has waited until they were
 * flushed. The WAL has something else in their place, and nothing of that may be stamped as if it had seen them. Where the newest
 * note is known here, so are all before it, because the WAL keeps its order; a batch whose end is not known could still come
 * to be the newest, and is waited for.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { lsnToText } from '../change/position.ts';
import type { NotesLedger } from '../clock/notes-ledger.ts';
import { fail } from '../platform/errors.ts';

/** The end of a batch takes a moment; for one that nobody knows of, apply has to connect anew. */
const QUIET_MS_MAX = 10_000;

/** `isNoted` asks the database that is captured. Throws SYN-K024, which passes once apply has connected to it. */
export async function checkLedger(ledger: NotesLedger, isNoted: (lsn: bigint) => Promise<boolean>): Promise<void> {
  if (!ledger.isQuiet) {
    const over = new AbortController();
    const late = delay(QUIET_MS_MAX, false, { signal: over.signal }).catch(() => false);
    const isQuiet = await Promise.race([ledger.quiet(over.signal).then(() => true), late]);
    over.abort();
    if (!isQuiet) throw fail('SYN-K024', 'apply does not know yet whether its last batch was committed');
  }
  const { newestLsn } = ledger;
  if (newestLsn === 0n || (await isNoted(newestLsn))) return;
  const detail = `apply has noted a batch at ${lsnToText(newestLsn)}, which this server does not know`;
  throw fail('SYN-K024', detail, { context: { lsn: lsnToText(newestLsn) } });
}
