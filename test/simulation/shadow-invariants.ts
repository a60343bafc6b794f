/**
 * Invariants of versions in shadow: every region keeps the same conflicts for them, each with the same row before and behind
 * it, whatever arrived first, and wherever its histories were cut. Once all is forgotten, every conflict has been kept.
 */
import { foldStateFromText } from '../../src/resolve/fold-state.ts';
import type { Failure } from './invariants.ts';
import type { Region } from './region.ts';
import type { Conditions } from './world-view.ts';

export function checkShadows(regions: readonly Region[], conditions: Conditions): Failure | null {
  // A region that comes back as an older copy of itself begins some histories anew.
  if (conditions.restores) return null;
  // One that sets events aside tells of what its rows came to without them.
  const whole = regions.filter(({ name }) => !conditions.refusals.has(name));
  const [first, ...others] = whole.map(({ name, store }) => ({ name, told: toldBy(store.shadows) }));
  for (const other of others) {
    for (const id of new Set([...(first?.told.keys() ?? []), ...other.told.keys()])) {
      const [here, there] = [first?.told.get(id), other.told.get(id)];
      if (here === there) continue;
      const message = `${first?.name} has ${here} of ${id}, ${other.name} has ${there}`;
      return { invariant: 'shadows-alike', message };
    }
  }
  return null;
}

function toldBy(shadows: Region['store']['shadows']): Map<string, string> {
  return new Map(
    [...shadows].map(([id, { version_id, state, event, result }]) => {
      const { image, version } = foldStateFromText(state);
      return [id, JSON.stringify([version_id, image, String(version.hlc), version.origin, event.event_id, result])];
    }),
  );
}
