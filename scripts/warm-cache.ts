/**
 * Fills the cache of compiled code that `bin/syncline` starts from, once after the installation: an agent that has to
 * strip types and compile at its start keeps some fifteen megabytes more for as long as it runs.
 *
 * Where the cache cannot be written, starts go without it; nothing else depends on it.
 */
import { enableCompileCache, flushCompileCache } from 'node:module';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
enableCompileCache(join(ROOT, 'node_modules/.cache/node'));
await import('../src/cli/program.ts');
await import('../src/cli/agent.ts');
await import('../src/cli/conflicts.ts');
await import('../src/cli/demo.ts');
await import('../src/cli/doctor.ts');
await import('../src/cli/link.ts');
await import('../src/cli/quarantine.ts');
await import('../src/cli/status.ts');
await import('../src/cli/topology.ts');
await import('../src/cli/uninstall.ts');
await import('../src/cli/verify.ts');
// What is loaded only once it is needed.
await import('../src/log/embedded/writer-worker.ts');
await import('../src/log/kafka/kafka-log.ts');
await import('../src/log/kafka/kafka-check.ts');
await import('../src/monitor/metrics.ts');
flushCompileCache();
