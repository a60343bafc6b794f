// What the API takes and gives, each shape once: the schema checks requests, gives the types and
// becomes /openapi.json.

import Type, { type Static } from 'typebox';

export const closed = { additionalProperties: false } as const;
export const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) =>
  Type.Union([type, Type.Null()]);
export const Time = Type.String({ description: 'ISO 8601, UTC, in microseconds where they are known' });
const Uuid = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' });
const Count = Type.Integer({ minimum: 0 });
export const Region = Type.String({ pattern: '^[a-z0-9-]{1,32}$' });
const Image = nullable(
  Type.Record(Type.String(), nullable(Type.String()), { description: "Column to value, in PostgreSQL's own text" }),
);
export const NAME_MAX = 300;

export const LIMIT_MAX = 1_000;
const LIMIT_DEFAULT = 100;

export const Paging = {
  limit: Type.Integer({ minimum: 1, maximum: LIMIT_MAX, default: LIMIT_DEFAULT }),
  cursor: Type.Optional(Type.String({ maxLength: 200, description: 'next_cursor of the page before' })),
};
export const page = <T extends Parameters<typeof Type.Array>[0]>(item: T) =>
  Type.Object({ items: Type.Array(item), next_cursor: nullable(Type.String()) });

export const Problem = Type.Object({ code: Type.String(), detail: Type.String(), table: Type.Optional(Type.String()) });

const INEFFECTIVE = 'Kept, and not carried out by this version';
const Policy = {
  mode: Type.Enum(['async', 'sync'], { description: `${INEFFECTIVE}: all links are asynchronous` }),
  lag_slo_ms: Type.Integer({ minimum: 1, maximum: 86_400_000 }),
  bandwidth_limit_bytes_per_s: nullable(
    Type.Integer({ minimum: 1_024, maximum: 1_000_000_000_000, description: INEFFECTIVE }),
  ),
  failover_priority: Type.Integer({ minimum: -1_000, maximum: 1_000, description: INEFFECTIVE }),
  tables: nullable(
    Type.Array(Type.String({ pattern: '^[^.]+\\..+$', maxLength: NAME_MAX }), {
      minItems: 1,
      maxItems: 1_000,
      description: `${INEFFECTIVE}: the tables of the configuration are replicated`,
    }),
  ),
  allow_drift_ms: nullable(
    Type.Integer({
      minimum: 1,
      maximum: 315_360_000_000,
      description: 'How far ahead of the local clock events may be, where that is more than limits.max_clock_drift_ms',
    }),
  ),
};

const Tally = Type.Object({
  counts: Type.Array(Count),
  seconds: Type.Number(),
  bytes: Count,
  records: Count,
  errors: Count,
});

export const Link = Type.Object({
  link_id: Type.String(),
  source_region: Region,
  target_region: Region,
  status: Type.Enum(['active', 'paused', 'degraded', 'decommissioned']),
  reason: nullable(Problem),
  baseline: Type.Object(
    {
      state: Type.Enum(['waiting', 'equal', 'trusted', 'joined', 'refused']),
      detail: nullable(Type.String()),
    },
    { description: 'Whether both regions held the same rows where their replication began' },
  ),
  last_acked_event_id: nullable(Uuid),
  lag_ms: Type.Number({
    minimum: 0,
    description:
      'Age of the oldest event that is not acknowledged; of the newest applied, while the stream is not read',
  }),
  lag_p50_ms: nullable(Type.Number()),
  lag_p99_ms: nullable(Type.Number()),
  updated_at: Time,
  last_heard_at: nullable(Time),
  clock_drift_ms: nullable(Type.Number({ description: 'Lead of the clock of the source over the local one' })),
  clock_drift_error_ms: nullable(Type.Number({ description: 'Null while only one direction is measured' })),
  log_kept_ms: nullable(
    Type.Number({
      description: 'How long the stream of the source still keeps the next event that is not applied here',
    }),
  ),
  events_applied: Count,
  events_waiting: Count,
  conflicts: Count,
  quarantined: Count,
  ineffective: Type.Array(Type.Enum(['mode', 'bandwidth_limit_bytes_per_s', 'failover_priority', 'tables']), {
    description: 'Parts of the policy that are set, and not carried out by this version',
  }),
  ...Policy,
});

export const Topology = Type.Object({
  regions: Type.Array(
    Type.Object({
      region_id: Region,
      is_self: Type.Boolean(),
      api: nullable(Type.String({ description: 'Address of the agent of that region, where it is known' })),
      last_heard_at: nullable(Time),
    }),
  ),
  links: Type.Array(Link, { description: 'The links that end in this region' }),
});

export const LinkParams = Type.Object({ link_id: Type.String({ maxLength: 65, description: 'source:target' }) });

export const LinkPatch = Type.Partial(Type.Object({ status: Type.Enum(['paused', 'active']), ...Policy }), {
  ...closed,
  minProperties: 1,
});
export type LinkPatch = Static<typeof LinkPatch>;

export const ConflictQuery = Type.Object(
  {
    table: Type.Optional(Type.String({ minLength: 1, maxLength: NAME_MAX, description: 'table or schema.table' })),
    from: Type.Optional(Type.String({ maxLength: 40, description: 'Resolved at or after this time, ISO 8601' })),
    to: Type.Optional(Type.String({ maxLength: 40, description: 'Resolved before this time, ISO 8601' })),
    strategy: Type.Optional(Type.String({ minLength: 1, maxLength: NAME_MAX })),
    region: Type.Optional(Region),
    pk: Type.Optional(Type.String({ minLength: 2, maxLength: 10_000, description: 'The whole key, as a JSON object' })),
    provisional: Type.Optional(Type.Boolean({ description: 'Only records that may change still, or only final ones' })),
    ...Paging,
  },
  closed,
);
export type ConflictQuery = Static<typeof ConflictQuery>;

export const Conflict = Type.Object({
  conflict_id: Uuid,
  event_id_a: nullable(Uuid),
  event_id_b: nullable(Uuid),
  schema_name: Type.String(),
  table_name: Type.String(),
  row_pk: Image,
  resolution_strategy: Type.String(),
  merge_version: Type.Union([Type.String(), Type.Null()], {
    description: 'The version of the merge rule by which it ended; null for last writer wins.',
  }),
  winner_event_id: nullable(Uuid),
  resolved_at: Time,
  image_a: Image,
  image_b: Image,
  base_image: Image,
  result_image: Image,
  provisional: Type.Boolean({ description: 'It may still change or go; final records are equal in every region' }),
  provisional_reason: nullable(
    Type.String({
      description: 'images: not all are here yet; forgotten: an event of it was, so it stays provisional',
    }),
  ),
  constraint_name: nullable(
    Type.String({ description: 'Of an orphan, which is the row of image_a: the foreign key that names no row' }),
  ),
  parent_table: nullable(Type.String({ description: 'Of an orphan: where the row is missing that event b removed' })),
  redacted: Type.Array(Type.String(), {
    description: 'Columns whose values are withheld by conflicts.redact: images have a marker in their place',
  }),
  loser_region: Type.String({ description: 'Origin of event a, which lost; of an orphan, that of event b' }),
  winner_region: Type.String({ description: 'Origin of event b, which won' }),
  loser_hlc: Type.String(),
  winner_hlc: Type.String(),
});
export type Conflict = Static<typeof Conflict>;
export const ConflictPage = page(Conflict);

export const ConflictParams = Type.Object({ conflict_id: Uuid });
export const Reapplied = Type.Object(
  {
    conflict_id: Uuid,
    schema_name: Type.String(),
    table_name: Type.String(),
    row_pk: Image,
    operation: Type.Enum(['upsert', 'delete']),
    rows: Type.Integer({ minimum: 0, description: '0 where there was nothing to delete, or to set' }),
    written: Image,
    left_out: Type.Array(Type.String(), {
      description: 'Columns of the losing side that the table does not have any more, computes, or does not let change',
    }),
  },
  { description: 'Each call is a write of its own, however often it is made' },
);
export type Reapplied = Static<typeof Reapplied>;

export const QuarantineQuery = Type.Object(
  {
    table: Type.Optional(Type.String({ minLength: 1, maxLength: NAME_MAX, description: 'table or schema.table' })),
    region: Type.Optional(Region),
    ...Paging,
  },
  closed,
);
export type QuarantineQuery = Static<typeof QuarantineQuery>;

export const Quarantined = Type.Object({
  kind: Type.Enum(['failed', 'parked'], {
    description: 'An event that could not be applied here, or a row that waits in every region for a unique value',
  }),
  event_id: Uuid,
  region_id: Type.String({ description: 'Origin of the event' }),
  schema_name: Type.String(),
  table_name: Type.String(),
  row_pk: Image,
  operation: Type.String(),
  sqlstate: Type.String(),
  error: Type.String(),
  quarantined_at: Time,
  attempts: Count,
  event: nullable(Type.Unknown({ description: 'The whole ChangeEvent; null where it is too large to be listed' })),
  event_bytes: Count,
  image: nullable(Image),
  blocker: nullable(Type.Array(nullable(Type.String()), { description: 'Key of the row that a parked one waits for' })),
});
export type Quarantined = Static<typeof Quarantined>;
export const QuarantinePage = page(Quarantined);

export const EventIds = Type.Object({ event_ids: Type.Array(Uuid, { minItems: 1, maxItems: LIMIT_MAX }) }, closed);
export type EventIds = Static<typeof EventIds>;

export const Retried = Type.Object({
  items: Type.Array(Type.Object({ event_id: Uuid, applied: Type.Boolean(), error: nullable(Type.String()) })),
});
const NewValues = Type.Record(Type.String({ minLength: 1 }), nullable(Type.String()), {
  minProperties: 1,
  description: "New values by column, as PostgreSQL's own text; null for NULL",
});
export const Edit = Type.Object({ event_id: Uuid, values: NewValues }, closed);
export type Edit = Static<typeof Edit>;
export const Edited = Type.Object({ edited: Type.Boolean() });

export const Discarded = Type.Object({ discarded: Count });

export const LagPage = page(
  Type.Object({
    link_id: Type.String(),
    source_region: Region,
    target_region: Region,
    status: Link.properties.status,
    lag_ms: Link.properties.lag_ms,
    lag_p50_ms: nullable(Type.Number({ description: 'From the commit at the source to the commit here' })),
    lag_p99_ms: nullable(Type.Number()),
    window_ms: Count,
    lag_slo_ms: Policy.lag_slo_ms,
    events_waiting: Count,
    last_acked_event_id: nullable(Uuid),
    last_heard_at: nullable(Time),
    clock_drift_ms: Link.properties.clock_drift_ms,
    clock_drift_error_ms: Link.properties.clock_drift_error_ms,
  }),
);

export const Health = Type.Object({ status: Type.String(), region: Region });

export const Clock = Type.Object({ region: Region, now_ms: Type.Number({ description: 'Unix time in ms' }) });

const Rules = Type.Array(Type.Object({ name: Type.String(), definition: Type.String(), statement: Type.String() }));
const Numeral = Type.String({ pattern: '^-?[0-9]+$' });
export const RegionPortrait = Type.Object(
  {
    region: Region,
    server: Type.Object({
      version: Type.String(),
      major: Count,
      encoding: Type.String(),
      collation: Type.String(),
      collation_version: nullable(Type.String()),
      collations: Type.Array(
        Type.Object({
          name: Type.String(),
          version: nullable(Type.String()),
          definition: Type.Optional(Type.String()),
        }),
      ),
    }),
    interleave: nullable(Type.Object({ of: Count, offset: Count })),
    redact: Type.Array(Type.String(), { description: 'Columns whose values the conflict log withholds' }),
    tables: Type.Array(
      Type.Object({
        schema: Type.String(),
        table: Type.String(),
        name: Type.String({ description: 'Quoted, with its schema' }),
        is_partitioned: Type.Boolean(),
        is_replicated: Type.Boolean({ description: 'Whether the configuration names it' }),
        columns: Type.Array(
          Type.Object({
            name: Type.String(),
            type: Type.String(),
            collation: nullable(Type.String()),
            not_null: Type.Boolean(),
            column_default: nullable(Type.String()),
            is_serial: Type.Boolean(),
            generated: nullable(Type.String()),
            identity: nullable(Type.String()),
          }),
        ),
        key: Type.Array(Type.String()),
        checks: Rules,
        uniques: Rules,
      }),
    ),
    types: Type.Array(Type.Object({ name: Type.String(), labels: Type.Array(Type.String()), checks: Rules })),
    sequences: Type.Array(
      Type.Object({
        oid: Count,
        name: Type.String(),
        cycles: Type.Boolean(),
        columns: Type.Array(Type.Object({ table: Type.String(), column: Type.String(), is_number: Type.Boolean() })),
        increment: Numeral,
        start: Numeral,
        minimum: Numeral,
        maximum: Numeral,
        value: nullable(Numeral),
      }),
    ),
  },
  { description: "Definitions are PostgreSQL's own text" },
);

const State = Type.Enum(['starting', 'streaming', 'running', 'retrying', 'stopped']);
export const Status = Type.Object({
  region: Region,
  run: Count,
  started_at: Time,
  ready: Type.Boolean(),
  capture: Type.Object({
    state: State,
    problem: nullable(Problem),
    transactions: Count,
    events: Count,
    pushed: Count,
    foreign: Count,
    slot_retained_bytes: nullable(Count),
    last_published_at: nullable(Time),
  }),
  apply: Type.Object({ state: State, problem: nullable(Problem), batches: Count, restarts: Count }),
  baseline: Type.Object(
    {
      state: Type.Enum(['starting', 'waiting', 'scanning', 'failed', 'known', 'trusted', 'untold']),
      detail: nullable(Type.String()),
      tables_total: Count,
      tables_done: Count,
      table: nullable(Type.String()),
      rows: Count,
      percent: Type.Number({ minimum: 0, maximum: 100 }),
    },
    { description: 'The rows that this region held where its stream begins, and how far they are read' },
  ),
  links: Type.Array(Link),
  conflicts_by_table: Type.Record(Type.String(), Count),
  parked_by_table: Type.Record(Type.String(), Count),
  orphans_by_table: Type.Record(Type.String(), Count),
  transfers: Type.Array(
    Type.Object({
      table: Type.String(),
      region: Type.String({ description: 'The region that tells its rows' }),
      state: Type.Enum(['absent', 'refused', 'published', 'sealed', 'ready', 'done']),
      rows_told: Count,
      rows_total: nullable(Count),
      percent: Type.Number({ minimum: 0, maximum: 100 }),
    }),
    {
      description:
        'Tables that were published after replication had begun, as far as their rows are not told everywhere',
    },
  ),
  log: Type.Object({
    bytes: Count,
    bytes_max: nullable(Count),
    streams: Type.Array(Type.Object({ stream: Type.String(), append: Tally, fetch: Tally }), {
      description: 'What was appended and fetched since the agent started, where that goes over a network',
    }),
  }),
  problems: Type.Array(Problem),
});

export const ProblemDocument = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    instance: Type.String(),
    code: Type.String({ description: 'A code of the table of errors' }),
    remedy: Type.String(),
    problems: Type.Optional(Type.Array(Type.Unknown())),
    owner: Type.Optional(Type.Object({ region: Type.String(), api: nullable(Type.String()) })),
    reasons: Type.Optional(Type.Array(Type.String())),
  },
  { description: 'RFC 9457' },
);
