// What the API takes and gives about merge rules.

import Type, { type Static } from 'typebox';
import { ROLLOUT_MODES } from '../change/merge-registry.ts';
import { SOURCE_MAX } from '../merge/merge-definition.ts';
import { COLUMN_STRATEGIES } from '../resolve/merge-rule.ts';
import { closed, NAME_MAX, nullable, Paging, page, Region, Time } from './schemas.ts';

const VersionId = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'The hash of all that it says' });
const ColumnStrategy = Type.Enum([...COLUMN_STRATEGIES]);
const RowStrategy = Type.Enum(['lww', 'lww-columns']);
const Deletes = Type.Enum(['latest', 'delete-wins', 'update-wins']);
const Amount = Type.Integer({ minimum: 1 });
const Limits = Type.Object(
  { steps: Amount, memory_mb: Amount, row_bytes: Amount },
  { ...closed, description: 'Of one call of a function' },
);
const COLUMNS_MAX = 1_600;

const Mode = Type.Enum([...ROLLOUT_MODES], {
  description:
    'immediate: all rows; shadow: run beside what is in effect, and compared, without effect; percent: a share of the rows, by their keys',
});
const Percent = Type.Integer({ minimum: 0, maximum: 100 });
export const RolloutRequest = Type.Object({ mode: Type.Optional(Mode), percent: Type.Optional(Percent) }, closed);
export type RolloutRequest = Static<typeof RolloutRequest>;

export const MergeRegistration = Type.Object(
  {
    table: Type.String({
      minLength: 1,
      maxLength: NAME_MAX,
      description: 'schema.table, or the name of one in public',
    }),
    strategy: Type.Optional(RowStrategy),
    source: Type.Optional(
      Type.String({ minLength: 1, maxLength: SOURCE_MAX, description: 'A function, in TypeScript or JavaScript' }),
    ),
    columns: Type.Optional(
      Type.Record(Type.String(), ColumnStrategy, { maxProperties: COLUMNS_MAX, description: 'Column to strategy' }),
    ),
    options: Type.Optional(
      Type.Object({ deletes: Type.Optional(Deletes), limits: Type.Optional(Type.Partial(Limits, closed)) }, closed),
    ),
    rollout: Type.Optional(RolloutRequest),
  },
  closed,
);
export type MergeRegistration = Static<typeof MergeRegistration>;

export const RollbackRequest = Type.Object(
  {
    to: Type.Optional(
      Type.Union([VersionId, Type.Null()], {
        description: 'A version, or null for last writer wins; what was in effect before unless given',
      }),
    ),
  },
  closed,
);
export type RollbackRequest = Static<typeof RollbackRequest>;

export const VersionParams = Type.Object({ version_id: VersionId });

export const MergeQuery = Type.Object(
  {
    table: Type.Optional(Type.String({ minLength: 1, maxLength: NAME_MAX, description: 'table or schema.table' })),
    ...Paging,
  },
  closed,
);
export type MergeQuery = Static<typeof MergeQuery>;

const Count = Type.Integer({ minimum: 0 });
const ShadowCounts = Type.Object(
  {
    conflicts: Count,
    differences: Type.Integer({ minimum: 0, description: 'Those that the version would have made another row of' }),
    failures: Type.Record(Type.String(), Count, { description: 'By reason, how often the version could not merge' }),
    skipped: Type.Integer({ minimum: 0, description: 'Conflicts that were too many to wait, and were not judged' }),
  },
  { description: 'What came of conflicts in its shadow, as counted in this region; null where it never ran so' },
);

const MemberState = Type.Object({
  region: Region,
  state: Type.Enum(['staged', 'refused', 'acknowledged', 'active']),
  reason: nullable(Type.String({ description: 'Why the region cannot run it' })),
  acked_at: nullable(Time),
  activated_at: nullable(Time),
});

export const MergeVersion = Type.Object({
  version_id: VersionId,
  table: Type.String({ description: 'schema.table' }),
  schema_name: Type.String(),
  table_name: Type.String(),
  state: Type.Enum(['staged', 'acknowledged', 'active', 'retired']),
  regions: Type.Array(MemberState, { description: 'Every member, and how far it is' }),
  missing_regions: Type.Array(Region, { description: 'Members that have not said that they can run it' }),
  rollout: nullable(
    Type.Object(
      {
        mode: Mode,
        percent: Percent,
        role: Type.Enum(['version', 'base'], {
          description: 'base: for the rows that a rollout of another one spares',
        }),
      },
      { description: 'As it is wanted; null where it is not' },
    ),
  ),
  definition: Type.Object({
    strategy: nullable(RowStrategy),
    columns: Type.Record(Type.String(), ColumnStrategy),
    deletes: Deletes,
    key: Type.Array(Type.String()),
    function_hash: nullable(
      Type.String({ description: 'Null, as the strategy, where this version of Syncline cannot read the definition' }),
    ),
    limits: nullable(Limits),
    source: Type.Optional(nullable(Type.String({ description: 'Told of a single version only' }))),
  }),
  registered_at: Time,
  registered_by: Region,
  shadow: nullable(ShadowCounts),
});
export type MergeVersion = Static<typeof MergeVersion>;
export const MergePage = page(MergeVersion);

const Values = nullable(Type.Record(Type.String(), nullable(Type.String())));
const ShadowSample = Type.Object({
  event_id: Type.String({ description: 'The later write' }),
  region_id: Region,
  row_pk: Type.Record(Type.String(), nullable(Type.String())),
  merge_version: nullable(Type.String({ description: 'What was in effect; null for last writer wins' })),
  failure: nullable(Type.String({ description: 'Why the version could not merge' })),
  base_image: Values,
  image_a: Values,
  image_b: Values,
  result_image: Values,
  shadow_image: Values,
  redacted: Type.Array(Type.String(), { description: 'Columns whose values are withheld' }),
});

export const ShadowQuery = Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })) }, closed);
export type ShadowQuery = Static<typeof ShadowQuery>;
export const ShadowReport = Type.Object({
  version_id: VersionId,
  counts: nullable(ShadowCounts),
  items: Type.Array(ShadowSample, { description: 'The newest that came out differently, or failed' }),
});
export type ShadowReport = Static<typeof ShadowReport>;
