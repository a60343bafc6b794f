/** Runs seeds from one number up to another and prints what fails: `node test/simulation/run-many.ts 1 2000`. */
import { simulate } from './simulate.ts';

const from = Number(process.argv[2] ?? 1);
const to = Number(process.argv[3] ?? 1000);
/** Ends after so many that fail. */
const failuresMax = Number(process.argv[4] ?? 40);
let failures = 0;
let steps = 0;
for (let seed = from; seed <= to; seed += 1) {
  const outcome = await simulate(seed);
  steps += outcome.steps;
  if (outcome.failure !== null) {
    failures += 1;
    console.log(`seed ${seed}: ${`${outcome.failure.invariant}: ${outcome.failure.message}`.slice(0, 400)}`);
    if (failures >= failuresMax) break;
  }
}
console.log(`${failures} of ${to - from + 1} seeds fail, ${steps} steps`);
process.exitCode = failures === 0 ? 0 : 1;
