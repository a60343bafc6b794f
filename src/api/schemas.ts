/** One schema per body: validation, types and the OpenAPI document come from here. */
import Type, { type Static } from 'typebox';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Image = Type.Record(Type.String(), nullable(Type.String()));

export const LinkPatch = Type.Object(
  {
    status: Type.Optional(Type.Union([Type.Literal('paused'), Type.Literal('active')])),
    mode: Type.Optional(Type.Union([Type.Literal('async'), Type.Literal('sync')])),
    lag_slo_ms: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400_000 })),
    bandwidth_limit_bytes_per_s: Type.Optional(nullable(Type.Integer({ minimum: 1 }))),
    failover_priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000 })),
    tables: Type.Optional(nullable(Type.Array(Type.String(), { maxItems: 1_000 }))),
  },
  { additionalProperties: false, minProperties: 1 },
);
export type LinkPatch = Static<typeof LinkPatch>;

export const LinkParams = Type.Object({ link_id: Type.String({ maxLength: 80 }) });

export const ConflictsQuery = Type.Object(
  {
    table: Type.Optional(Type.String({ maxLength: 200, description: 'schema.table, or a table of any schema.' })),
    from: Type.Optional(Type.String({ maxLength: 40, description: 'ISO 8601; resolved at or after.' })),
    to: Type.Optional(Type.String({ maxLength: 40, description: 'ISO 8601; resolved before.' })),
    strategy: Type.Optional(Type.String({ maxLength: 40 })),
    region: Type.Optional(Type.String({ maxLength: 32, description: 'Region of the loser or of the winner.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200, description: 'next_cursor of the page before.' })),
  },
  { additionalProperties: false },
);
export type ConflictsQuery = Static<typeof ConflictsQuery>;

export const Conflict = Type.Object({
  conflict_id: Type.String(),
  event_id_a: nullable(Type.String()),
  event_id_b: nullable(Type.String()),
  schema_name: Type.String(),
  table_name: Type.String(),
  row_pk: Image,
  resolution_strategy: Type.String(),
  winner_event_id: nullable(Type.String()),
  resolved_at: Type.String(),
  provisional: Type.Boolean(),
  region_a: Type.String({ description: 'Origin of the event that lost.' }),
  region_b: Type.String({ description: 'Origin of the event that won.' }),
  image_a: nullable(Image),
  image_b: nullable(Image),
  base_image: nullable(Image),
  result_image: nullable(Image),
});
export type Conflict = Static<typeof Conflict>;

export const ConflictList = Type.Object({ items: Type.Array(Conflict), next_cursor: nullable(Type.String()) });

export const QuarantineQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  { additionalProperties: false },
);
export type QuarantineQuery = Static<typeof QuarantineQuery>;

export const QuarantineItem = Type.Object({
  event_id: Type.String(),
  region_id: Type.String(),
  schema_name: Type.String(),
  table_name: Type.String(),
  row_pk: Image,
  operation: Type.String(),
  sqlstate: Type.String(),
  error: Type.String(),
  quarantined_at: Type.String(),
  attempts: Type.Integer(),
});
export type QuarantineItem = Static<typeof QuarantineItem>;

export const QuarantineList = Type.Object({ items: Type.Array(QuarantineItem), next_cursor: nullable(Type.String()) });

export const EventIds = Type.Object(
  { event_ids: Type.Array(Type.String({ pattern: '^[0-9a-f-]{36}$' }), { minItems: 1, maxItems: 1_000 }) },
  { additionalProperties: false },
);
export type EventIds = Static<typeof EventIds>;
