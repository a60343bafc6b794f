/**
 * Holds a whole database server, as a long pause of its machine would: connections stay, and nothing answers. The postmaster is
 * stopped first and goes on last, so that there is no session in between that it has started or missed.
 */
import type { EmbeddedPostgres } from '../../src/platform/servers/embedded-postgres.ts';
import { childrenOf } from '../../src/platform/servers/processes.ts';

export type PausedServer = { readonly processes: number; readonly resume: () => void };

/** Resolves once all of it stands still. */
export async function pauseServer({ pid }: EmbeddedPostgres): Promise<PausedServer> {
  if (pid === undefined) throw new Error('the server is down');
  signal(pid, 'SIGSTOP');
  const children = await childrenOf(pid);
  for (const child of children) signal(child, 'SIGSTOP');
  const resume = (): void => {
    for (const each of [...children, pid]) signal(each, 'SIGCONT');
  };
  return { processes: 1 + children.length, resume };
}

function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // A session may have ended by itself before it was stopped.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
