/** Runs one seed and tells what became of it. */
import { positionLsn } from '../../src/change/position.ts';
import type { Failure } from './invariants.ts';
import { World } from './world.ts';

export type Outcome = {
  readonly seed: number;
  readonly failure: Failure | null;
  readonly steps: number;
  /** The steps taken, and then every published event; empty unless asked for. */
  readonly trace: readonly string[];
};

export async function simulate(seed: number, keepsTrace = false): Promise<Outcome> {
  const world = new World(seed, keepsTrace);
  const onRejection = (reason: unknown): void => {
    const message = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    world.fail({ invariant: 'runs', message });
  };
  process.on('unhandledRejection', onRejection);
  try {
    const ended = await world.run();
    // Rejections that nobody handled are told of once the actors' own steps are over.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const failure = ended ?? world.failure;
    const trace = keepsTrace ? [...world.scheduler.trace, ...(await tellPublished(world))] : [];
    return { seed, failure, trace, steps: world.scheduler.steps };
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}

/** Every published event in the order of versions, one line each: for whoever looks into a failing seed. */
async function tellPublished(world: World): Promise<string[]> {
  const published = [...(await world.published()).values()].flat();
  const lines = published.flatMap(({ origin, hlc, position, seen, events }) => {
    const had = Object.entries(seen).map(([region, at]) => `${region}:${positionLsn(at)}`);
    return events.map(({ operation, table_name, before_image, after_image, transaction: { id, index } }) => {
      const what = `${operation} ${table_name} ${before_image?.id ?? ''}→${after_image?.id ?? ''} ${after_image?.v ?? '-'}`;
      return `${String(hlc).slice(8)} ${origin}@${positionLsn(position)} x${id}.${index} ${what} seen ${had.join(' ')}`;
    });
  });
  return lines.sort();
}
