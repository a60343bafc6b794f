/**
 * Holds a whole database server, as a long pause of its machine would: connections stay, and nothing answers. The postmaster is
 * stopped first and goes on last, so that there is no session in between that it has started or missed.
 */
import type { EmbeddedPostgres } from '../../src/platform/embedded-postgres.ts';
import { childrenOf } from '../../src/platform/processes.ts';

/** Resolves, once all of it stands still, with what lets it go on. */
export async function pauseServer({ pid }: EmbeddedPostgres): Promise<() => void> {
  if (pid === undefined) throw new Error('the server is down');
  signal(pid, 'SIGSTOP');
  const children = await childrenOf(pid);
  for (const child of children) signal(child, 'SIGSTOP');
  return () => {
    for (const each of [...children, pid]) signal(each, 'SIGCONT');
  };
}

function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // A session may have ended by itself before it was stopped.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
