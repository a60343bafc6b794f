// `syncline agent`: serves one region until SIGTERM or SIGINT; the exit code is 0 only after an orderly end.
//
// The API listens first: a taken address is found before the slot is taken, and probes are answered
// while a start waits for the database or the lease. A second signal ends the process at once; what is durable decides.

import { flushCompileCache } from 'node:module';
import { Agent } from '../agent.ts';
import { ApiServer } from '../api/server.ts';
import { type Config, loadConfig } from '../platform/config.ts';
import { createLogger, type Logger } from '../platform/logger.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** Resolves after an orderly end; rejects with what an operator has to mend. */
export async function runAgent(path: string): Promise<void> {
  const config = await loadConfig(path);
  const logger = createLogger({ level: config.log_level, fields: { region: config.region } });
  const signalled = Promise.withResolvers<NodeJS.Signals>();
  const stopping = new AbortController();
  for (const signal of SIGNALS) {
    process.once(signal, () => {
      signalled.resolve(signal);
      stopping.abort();
      process.once(signal, () => process.exit(1));
    });
  }
  try {
    await serve(config, logger, signalled.promise, stopping.signal);
  } catch (error) {
    // Once for whoever collects logs; the person at the terminal is told by the caller.
    logger.fatal({ err: error }, 'the agent cannot go on');
    throw error;
  }
}

async function serve(
  config: Config,
  logger: Logger,
  signalled: Promise<NodeJS.Signals>,
  stopping: AbortSignal,
): Promise<void> {
  await using api = await ApiServer.start(config, logger);
  logger.info({ api: api.url }, 'the API listens');
  const starting = Agent.start(config, logger, stopping);
  if ((await Promise.race([starting.then(() => 'started'), signalled])) !== 'started') {
    // A start that a signal overtook gives back what it has; what else it ends with is no news.
    await starting.then((agent) => agent.stop()).catch(() => undefined);
    return;
  }
  await using agent = await starting;
  api.serve(agent);
  // Everything is loaded by now; an agent may end by a kill, which would leave the next start without the cache.
  flushCompileCache();
  const signal = await Promise.race([signalled, agent.ended]);
  logger.info({ signal }, 'the agent ends');
}
