/**
 * What follows from the rows of the registry: which intent of a table counts, what a region may activate, and in which
 * state a version is. Pure, so that every region, and every agent that starts anew, comes to the same.
 *
 * A region names a version in its events only once every member has said that it can run it. So no event ever names what
 * a region lacks, and nothing that is applied has to wait for it. Intents grow by their generation like a Lamport clock:
 * whoever changes one has seen the one before it and goes above it, and of two that are made at once the region's name
 * decides, the same way everywhere, without any clock.
 */
import type { Rollout, RolloutMode } from '../change/merge-registry.ts';

export type TableName = { readonly schema_name: string; readonly table_name: string };

export type Ack = {
  readonly version_id: string;
  readonly region: string;
  readonly verdict: 'ok' | 'refused';
  readonly reason: string | null;
  /** Whether the region's histories hold what an event that names the version may be concurrent with. */
  readonly is_ready: boolean;
  readonly acked_at: string;
};

export type Intent = TableName &
  Rollout & { readonly region: string; readonly generation: number; readonly wanted_at: string };

export type Activation = TableName &
  Rollout & {
    readonly region: string;
    readonly generation: number;
    /** The region where the intent was said that it follows. */
    readonly decided_by: string;
    readonly activated_at: string;
  };

export type RegionState = 'staged' | 'refused' | 'acknowledged' | 'active';
export type VersionState = 'staged' | 'acknowledged' | 'active' | 'retired';

const LAST_WRITER_WINS: Rollout = { version_id: null, base_version_id: null, mode: 'immediate', percent: 100 };

export const tableText = ({ schema_name, table_name }: TableName): string => JSON.stringify([schema_name, table_name]);

/** Of a table's intents the one that counts. */
export function effectiveIntent(intents: readonly Intent[]): Intent | null {
  return intents.reduce<Intent | null>((best, each) => (best === null || isAbove(each, best) ? each : best), null);
}

type Place = Pick<Intent, 'generation' | 'region'>;

function isAbove(a: Place, b: Place): boolean {
  return a.generation === b.generation ? a.region > b.region : a.generation > b.generation;
}

/** The versions that events of the table may name. */
export function versionsOf({ version_id, base_version_id, mode }: Rollout): string[] {
  const named = mode === 'immediate' ? [version_id] : [version_id, base_version_id];
  return [...new Set(named.filter((id) => id !== null))];
}

/** What all rows go by where no rollout is under way, else those that it spares. */
function settledVersion({ version_id, base_version_id, mode }: Rollout): string | null {
  return mode === 'immediate' ? version_id : base_version_id;
}

/** The rollout of a version, given what is wanted now. */
export function rolloutTo(
  now: Rollout | null,
  version_id: string,
  how: { readonly mode: RolloutMode; readonly percent: number },
): Rollout {
  const before = now ?? LAST_WRITER_WINS;
  const base = before.version_id === version_id ? before.base_version_id : settledVersion(before);
  const percent = how.mode === 'percent' ? how.percent : 100;
  return { version_id, base_version_id: base === version_id ? null : base, mode: how.mode, percent };
}

/** Back to what was in effect before, or to that version. */
export function rollbackOf(now: Rollout, to: string | null | undefined): Rollout {
  return { ...LAST_WRITER_WINS, version_id: to === undefined ? now.base_version_id : to };
}

/** Members that have not said that they can run all of these versions. */
export function missingRegions(
  members: readonly string[],
  acks: readonly Ack[],
  versions: readonly string[],
): readonly string[] {
  const isAcked = (id: string, member: string): boolean =>
    acks.some(({ version_id, region, verdict }) => version_id === id && region === member && verdict === 'ok');
  return members.filter((member) => !versions.every((id) => isAcked(id, member)));
}

/** Whether the region's own activation has to become what is wanted, and may. It never goes back to an older intent. */
export function isDue(
  intent: Intent,
  own: Activation | null,
  members: readonly string[],
  acks: readonly Ack[],
): boolean {
  if (own !== null && !isAbove(intent, { generation: own.generation, region: own.decided_by })) return false;
  const ready = acks.filter(({ is_ready }) => is_ready);
  return missingRegions(members, ready, versionsOf(intent)).length === 0;
}

/** How far a member is with a version. */
export function regionState(
  version_id: string,
  region: string,
  acks: readonly Ack[],
  activations: readonly Activation[],
): RegionState {
  if (activations.some((each) => each.region === region && versionsOf(each).includes(version_id))) return 'active';
  const ack = acks.find((each) => each.region === region && each.version_id === version_id);
  if (ack === undefined) return 'staged';
  return ack.verdict === 'ok' ? 'acknowledged' : 'refused';
}

/**
 * How far all are with a version. One that is not wanted any more is retired only once no member's events name it.
 */
export function versionState(members: readonly RegionState[], isWanted: boolean): VersionState {
  const isActive = (state: RegionState): boolean => state === 'active';
  if (!isWanted) return members.some(isActive) ? 'active' : 'retired';
  if (members.every(isActive)) return 'active';
  return members.every((state) => isActive(state) || state === 'acknowledged') ? 'acknowledged' : 'staged';
}
