/**
 * An operator who copies the disk of a region while it tells the rows of a late table, and brings the region back to that copy
 * when the table is long done with: rows were removed since, and no other region keeps anything of their removal.
 */
import { LATE } from './model-store.ts';
import type { Region } from './region.ts';
import { tellsLate } from './transfer-actor.ts';
import type { Workload } from './workload.ts';
import type { WorldView } from './world-view.ts';

/** How often is looked whether the others have forgotten; where a link stays paused, the operator lets it be. */
const TRIES_MAX = 20;
/** Longer than the window of stamping, so that heartbeats make what was written before stable. */
const REST_MICROS = 1_000_000n;

export async function restoreOlderCopy(
  region: Region,
  regions: readonly Region[],
  world: WorldView,
  workload: Workload,
): Promise<void> {
  const actor = `${region.name}/operator`;
  const until = async (what: string, isSo: () => boolean): Promise<boolean> => {
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      if (isSo()) return true;
      world.pass(REST_MICROS);
      await Promise.all(regions.map(async (each) => await workload.heart(each, 1, 5)));
      await world.scheduler.rest(actor, what, world.random.below(60));
    }
    return false;
  };
  let copy: ReturnType<Region['snapshot']> = null;
  const isCopied = (): boolean => {
    if (tellsLate(region)) copy ??= region.snapshot();
    return copy !== null;
  };
  // The rows are told in a few steps: it is looked at each of them.
  void world.scheduler.step(`${actor}/copy`, 'rows are told', isCopied);
  const isForgotten = (): boolean => regions.every(({ store }) => !store.keepsTable(LATE));
  const isEmpty = ({ database }: Region): boolean =>
    [...database.table(LATE).slots.values()].every(({ tuple }) => tuple === null);
  if (!(await until('waits for rows to be told', isCopied))) return;
  world.scheduler.note(`${region.name}: disk is copied while rows are told`);
  if (!(await until('waits for the transfer to end', isForgotten))) return;
  await workload.clear(world.random.pick(regions));
  if (!(await until('waits for removals to be forgotten', () => regions.every(isEmpty) && isForgotten()))) return;
  world.scheduler.note(`${region.name}: comes back as an older copy`);
  (copy as ReturnType<Region['snapshot']>)?.({ skips: world.random.pick([0, 5]), losesSlot: world.random.chance(0.5) });
}
