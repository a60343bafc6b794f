/**
 * Words of the registry of merge rules, for whoever sends, applies or reads its rows. They are ordinary replicated rows in
 * Syncline's own schema, whatever tables the configuration names.
 */
export const REGISTRY_SCHEMA = 'syncline';
export const ACTIVATION_TABLE = 'merge_activation';

const MERGE_TABLES = ['merge_version', 'merge_ack', 'merge_intent', ACTIVATION_TABLE];

/** What goes from region to region of its own: the registry, and what regions say of tables that are published late. */
export const REGISTRY_TABLES: readonly { readonly schema: string; readonly table: string }[] = [
  ...MERGE_TABLES,
  'transfer',
].map((table) => ({ schema: REGISTRY_SCHEMA, table }));

/** Of merge rules alone. */
export function isMergeTable(schema: string, table: string): boolean {
  return schema === REGISTRY_SCHEMA && MERGE_TABLES.includes(table);
}

export function isRegistryTable(schema: string, table: string): boolean {
  return schema === REGISTRY_SCHEMA && REGISTRY_TABLES.some((each) => each.table === table);
}

export const ROLLOUT_MODES = ['immediate', 'shadow', 'percent'] as const;
export type RolloutMode = (typeof ROLLOUT_MODES)[number];

/** Which versions the events of a table name; a null stands for last writer wins. */
export type Rollout = {
  readonly version_id: string | null;
  /** For rows that a rollout spares: all in shadow, those outside of the percentage; and where a rollback leads. */
  readonly base_version_id: string | null;
  readonly mode: RolloutMode;
  /** The share of the rows, by their keys; counts in the mode `percent` alone. */
  readonly percent: number;
};
