/**
 * Fills the cache of compiled code that `bin/syncline` starts from, once after the installation: an agent that has to
 * strip types and compile at its start keeps some fifteen megabytes more for as long as it runs.
 *
 * Where the cache cannot be written, starts go without it; nothing else depends on it.
 */
import { enableCompileCache, flushCompileCache } from 'node:module';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const COMMANDS = [
  'agent',
  'conflicts',
  'demo',
  'doctor',
  'link',
  'quarantine',
  'status',
  'topology',
  'uninstall',
  'verify',
];

enableCompileCache(join(ROOT, 'node_modules/.cache/node'));
await import(join(ROOT, 'src/cli/program.ts'));
for (const command of COMMANDS) await import(join(ROOT, `src/cli/${command}.ts`));
// What is loaded only once it is needed.
for (const late of ['log/writer-worker.ts', 'log/kafka-log.ts', 'log/kafka-check.ts', 'monitor/metrics.ts']) {
  await import(join(ROOT, 'src', late));
}
flushCompileCache();
