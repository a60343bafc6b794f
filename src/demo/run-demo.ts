// The stage of the demo: three databases with the same shop in each, their log and their agents, in a folder that
// goes with them. The story that is played on it stands in story.ts.
//
// Everything that is started stands in a stack and is ended in the opposite order, whatever happens:
// a fault, Ctrl-C, or the end of the story.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fail } from '../platform/errors.ts';
import { freePorts } from '../platform/servers/free-port.ts';
import { type DemoLogs, openLogs } from './demo-logs.ts';
import { DemoRegion, type RegionPlan } from './demo-region.ts';
import { OrphanWatch } from './orphan-watch.ts';
import { type DemoOptions, type DemoResult, Story } from './story.ts';

const REGIONS = ['eu-west', 'us-east', 'ap-south'];
const LOST_REGION = 'us-east';

export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { screen, log: type, signal } = options;
  screen.say(`Three regions on this machine: ${REGIONS.join(', ')}. Each has a PostgreSQL 18 and an agent of its own.`);
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'syncline-demo-')).catch((cause: Error) => {
    throw fail('SYN-D005', cause.message, { cause });
  });
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const watch = stack.use(new OrphanWatch(folder));
  const say = (text: string): void => screen.say(text);
  const logs = stack.use(await openLogs({ type, regions: REGIONS, folder, say, signal }));
  const regions = await startRegions({ folder, watch, logs }, stack, options);
  const story = new Story(regions, LOST_REGION, options);
  stack.defer(() => story.closeShops());
  return await story.tell();
}

async function startRegions(
  shared: { readonly folder: string; readonly watch: OrphanWatch; readonly logs: DemoLogs },
  stack: AsyncDisposableStack,
  { screen, signal }: DemoOptions,
): Promise<DemoRegion[]> {
  screen.say('Starting the databases, with the same small shop in each …');
  const ports = await freePorts(REGIONS.length);
  const plans: RegionPlan[] = REGIONS.map((name, index) => ({ name, port: ports[index] ?? 0 }));
  const starting = plans.map(async (plan) => stack.use(await DemoRegion.create(plan, plans, shared)));
  const regions = await allOrFirstError(starting);
  signal.throwIfAborted();
  screen.say('Starting the agents …');
  await allOrFirstError(regions.map((region) => region.startAgent(signal)));
  return regions;
}

/** Waits for all, also where one fails: what is half started cannot be ended yet. */
async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return await Promise.all(promises);
}
