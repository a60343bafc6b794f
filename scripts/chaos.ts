/**
 * Chaos by hand: `npm run chaos -- --minutes 60 --seed 1 [--log kafka] [--rounds 20] [--clients 2]`. Runs one seed after the other until the
 * time is over; a seed is told before it begins, and the first that fails ends it all.
 *
 * Clocks are stepped where Debian's faketime is installed, and the embedded log's disk runs full where this runs as root on
 * Linux; on Kafka the broker is killed and paused, and the
 * network before it fails. What is left out is said.
 */
import { parseArgs } from 'node:util';
import { systemRandom } from '../src/platform/random.ts';
import { REGIONS, runChaos } from '../test/chaos/chaos-run.ts';
import { ProxiedKafka } from '../test/support/proxied-kafka.ts';
import { faketimeLibrary } from '../test/support/server-clock.ts';
import { SmallDisk } from '../test/support/small-disk.ts';

const LOG_DISK_MB = 400;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(1 + systemRandom.below(1_000_000)) },
    rounds: { type: 'string', default: '20' },
    clients: { type: 'string', default: '2' },
    log: { type: 'string', default: 'embedded' },
  },
});
const [minutes, firstSeed, rounds, clients] = [amount('minutes'), amount('seed'), amount('rounds'), amount('clients')];
if (values.log !== 'embedded' && values.log !== 'kafka') refuse(`--log is ${values.log}; there are embedded and kafka`);
const endMs = performance.now() + minutes * 60_000;
const isKafka = values.log === 'kafka';
const clocks = (await faketimeLibrary()) !== null;
const hasDisk = !isKafka && process.platform === 'linux' && process.getuid?.() === 0;
if (!clocks) console.log('left out: clocks (faketime is not installed)');
if (!isKafka && !hasDisk) console.log('left out: full disks (this takes root on Linux)');

let seeds = 0;
for (let seed = firstSeed; performance.now() < endMs; seed += 1) {
  const startedMs = performance.now();
  console.log(`seed ${seed}, ${rounds} rounds on ${values.log}`);
  await using logDisk = hasDisk ? await SmallDisk.mount(LOG_DISK_MB) : null;
  await using kafka = isKafka ? await ProxiedKafka.start(REGIONS) : null;
  const tell = (line: string): void => console.log(`  ${line}`);
  await runChaos({ seed, rounds, clients, clocks, logDisk, kafka, tell });
  seeds += 1;
  console.log(`  equal, after ${Math.round((performance.now() - startedMs) / 1_000)} s`);
}
console.log(`${seeds} seeds, nothing lost and nothing forked`);
// A broker's sockets may linger.
process.exit(0);

/** Anything else would be a plan without faults, which proves nothing. */
function amount(name: 'minutes' | 'seed' | 'rounds' | 'clients'): number {
  const text = values[name];
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  return refuse(`--${name} is ${text}; it has to be a whole number above 0`);
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}
