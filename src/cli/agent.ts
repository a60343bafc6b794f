/** `syncline agent`: serves one region until SIGTERM or SIGINT; the exit code is 0 only after an orderly end. */
import { flushCompileCache } from 'node:module';
import { Agent } from '../agent.ts';
import { startApi } from '../api/server.ts';
import { loadConfig } from '../platform/config.ts';
import { SynclineError } from '../platform/errors.ts';
import { createLogger } from '../platform/logger.ts';

export async function runAgent(path: string): Promise<number> {
  try {
    const config = await loadConfig(path);
    const logger = createLogger({ level: config.log_level, fields: { region: config.region } });
    const agent = await Agent.start(config, logger);
    const api = await startApi(agent, config, logger);
    // Everything is loaded by now; an agent may end by a kill, which would leave the next start without the cache.
    flushCompileCache();
    const stopped = Promise.withResolvers<void>();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopped.resolve());
    try {
      await Promise.race([stopped.promise, agent.ended]);
      return 0;
    } finally {
      await api.close();
      await agent.stop();
    }
  } catch (error) {
    console.error(error instanceof SynclineError ? `${error.message}\n${error.remedy}` : error);
    return 1;
  }
}
