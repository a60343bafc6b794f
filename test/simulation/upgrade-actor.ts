/**
 * An operator who upgrades the server of a region by pg_upgrade: users rest everywhere, the agent is asked until the region is at
 * rest, then the server comes back without commit timestamps, replication origins and slots. Afterwards users go on, and what
 * they write has to end as if nothing had happened.
 */
import { positionLsn } from '../../src/change/position.ts';
import type { Region } from './region.ts';
import type { Workload } from './workload.ts';
import type { WorldView } from './world-view.ts';

/** How often the agent is asked; where a link stays paused, the operator lets it be. */
const TRIES_MAX = 20;
/** Longer than the window of stamping, so that heartbeats make what was written before stable. */
const REST_MICROS = 1_000_000n;
/** The same where clocks may have been set back. */
const BAD_CLOCKS_MICROS = 30_000_000n;

/** `areUsersDone` tells whether users rest by now; `goOn` lets them begin again. */
export async function upgradeServer(
  region: Region,
  regions: readonly Region[],
  world: WorldView,
  workload: Workload,
  areUsersDone: () => boolean,
  goOn: () => void,
): Promise<void> {
  const actor = `${region.name}/operator`;
  await world.scheduler.step(actor, 'users rest', areUsersDone);
  let isDone = false;
  const upgrade = (): void => {
    const mark = region.store.marks.get(region.name);
    const reached = mark === undefined ? 0n : positionLsn(mark.position);
    const open = region.database.wal.filter(({ lsn }) => lsn > reached);
    const lost = open.find(({ changes }) => changes.length > 0);
    if (lost !== undefined) {
      world.fail({ invariant: 'rests', message: `${region.name} is at rest, and ${lost.lsn} is not published` });
    }
    // Nothing of a heartbeat would be missed, but whoever compares the WAL with the stream would miss it.
    if (open.length > 0) return;
    region.upgradeServer();
    isDone = true;
  };
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const { apply } = region;
    let isAnswered = apply === null;
    void apply?.whenAtRest(upgrade).finally(() => {
      isAnswered = true;
    });
    await world.scheduler.step(actor, 'asks for rest', () => isAnswered || region.apply !== apply);
    if (isDone) break;
    world.pass(world.conditions.badClocks ? BAD_CLOCKS_MICROS : REST_MICROS);
    await Promise.all(regions.map(async (each) => await workload.heart(each, 1, 5)));
  }
  world.scheduler.note(`${region.name}: ${isDone ? 'goes on on another server' : 'is not upgraded'}`);
  goOn();
}
