/** Replays one seed with its trace: `node test/simulation/run-seed.ts 42`. */
import { simulate } from './simulate.ts';

const outcome = await simulate(Number(process.argv[2] ?? 1), true);
console.log(outcome.trace.slice(-Number(process.argv[3] ?? 400)).join('\n'));
console.log(outcome.failure ?? 'all invariants hold', `(${outcome.steps} steps)`);
process.exitCode = outcome.failure === null ? 0 : 1;
