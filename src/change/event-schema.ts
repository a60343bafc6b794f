/**
 * The records of a stream as other programs meet them: one declaration, from which follow the types that the code has, the
 * JSON Schema in `docs/events.schema.json`, and the tables of `docs/events.md`. A check compares both with it, and tests
 * hold what is really published against it; so code, schema and page cannot say different things.
 *
 * Which of these a record is, its header `kind` tells. A record may have further fields, which a consumer ignores.
 *
 * Types alone are what other modules of the code take from here: a record of ours is made by ours, and checking each one again
 * would cost more than making it.
 */
import Type, { type Static, type TSchema } from 'typebox';
import type { Position, Seen } from './position.ts';

/** What is read is never written to. */
type Frozen<T> = T extends string | number | boolean | null | undefined ? T : { readonly [K in keyof T]: Frozen<T[K]> };

const EPOCH = '\\d{19}';
const POSITION = `${EPOCH}:[0-9a-f]{16}`;

const text = (description: string) => Type.String({ description });
const count = (description: string) => Type.Integer({ minimum: 0, description });
const hlc = (description: string) => Type.String({ pattern: `^${EPOCH}$`, description });
const position = (description: string) => Type.Unsafe<Position>(Type.String({ pattern: `^${POSITION}$`, description }));
const positionOrNull = (description: string) =>
  Type.Unsafe<Position | null>({ type: ['string', 'null'], pattern: `^${POSITION}$`, description });
const textOrNull = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], description });
const seen = (description: string) =>
  Type.Unsafe<Seen>({
    type: 'object',
    additionalProperties: { type: 'string', pattern: `^${POSITION}$` },
    description,
  });
const image = (description: string) =>
  Type.Unsafe<{ [column: string]: string | null }>({
    type: 'object',
    additionalProperties: { type: ['string', 'null'] },
    description,
  });
const imageOrNull = (description: string) =>
  Type.Unsafe<{ [column: string]: string | null } | null>({
    type: ['object', 'null'],
    additionalProperties: { type: ['string', 'null'] },
    description,
  });
const eventId = (description: string) =>
  Type.String({
    pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
    description,
  });
const time = (description: string) =>
  Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{6}Z$', description });

const transaction = Type.Object(
  {
    id: count('The transaction id at the origin, 32 bits.'),
    epoch: Type.String({
      pattern: `^${EPOCH}$`,
      description: 'The history of the WAL that the transaction belongs to; a later one sorts higher.',
    }),
    commit_lsn: Type.String({
      pattern: '^[0-9A-F]{1,8}/[0-9A-F]{1,8}$',
      description: "WAL position of the commit record, in PostgreSQL's notation.",
    }),
    stated_micros: Type.Optional(
      Type.String({
        pattern: '^-?\\d+$',
        description:
          'Unix µs of the commit timestamp that another tool gave the transaction, be it what it may; absent where `committed_at` is it.',
      }),
    ),
    index: count('Place of the event in its transaction, from 0.'),
    last: Type.Boolean({ description: "Whether it is the transaction's last event." }),
    predecessor: positionOrNull(
      "Position of the stream's transaction or heartbeat before this one; null at the stream's very start.",
    ),
    seen: seen('Origin → position: what the origin had applied of other regions below the commit.'),
  },
  { description: 'What all events of a transaction agree on, and the place of this one.' },
);

const change = Type.Object(
  {
    event_id: eventId('UUIDv7, derived from stamp, origin, position and index alone: the same WAL gives the same id.'),
    region_id: text('The origin: the region where the change was first committed.'),
    schema_name: text('Schema of the table.'),
    table_name: text('The table; for a partition, the partitioned table at the top.'),
    row_pk: image("The primary key's columns after the change, before it for DELETE; empty for TRUNCATE."),
    operation: Type.Enum(['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'], {
      description: 'What was done. Of a TRUNCATE there is one event for each table.',
    }),
    before_image: imageOrNull(
      'The row before: null for INSERT and TRUNCATE, and where the key alone identifies rows and did not change.',
    ),
    after_image: imageOrNull('The row after: null for DELETE and TRUNCATE.'),
    committed_at: time("Commit time at the origin, UTC, with microseconds; by the origin's clock."),
    hlc_timestamp: hlc(
      'The stamp: Unix µs of the commit, times 1024, plus a counter; 19 digits. With region_id it is the version that decides conflicts. It is no order of the stream.',
    ),
    region_tags: Type.Array(Type.String(), {
      description: 'The regions that the record has passed, the origin first.',
    }),
    operator: Type.Optional(
      Type.Literal(true, {
        description: 'Set where an operator decided on a parked row: no table of the origin has changed by it.',
      }),
    ),
    claim: Type.Optional(
      Type.Object(
        {
          version: hlc(
            'As `hlc_timestamp`: with region_id the version of the row, which decides in place of the stamp.',
          ),
          since: hlc(
            'Of an event stamped at or below it, every region had applied what it keeps before this was written.',
          ),
        },
        {
          description:
            'Set where the event is no change, but a row as the origin has held it since before all regions published the table.',
        },
      ),
    ),
    merge: Type.Optional(
      Type.String({
        description:
          'The version of the rule by which regions merge it with concurrent ones; absent for last writer wins.',
      }),
    ),
    merge_shadow: Type.Optional(
      Type.String({ description: 'A version that regions run beside it and compare, without effect.' }),
    ),
    transaction,
  },
  { description: 'A change of one row.' },
);

const heartbeat = Type.Object(
  {
    event_id: eventId('As of a change.'),
    region_id: text('The region that writes the stream.'),
    position: position('Its place in the stream.'),
    predecessor: positionOrNull('As of a transaction.'),
    hlc: hlc('Its stamp.'),
    xid: count('The transaction id at the origin.'),
    committed_at: time('Commit time at the origin.'),
    seen: seen('As of a transaction.'),
    promise: hlc('Nothing later in this stream is stamped at or below it.'),
    floor: hlc('All events stamped at or below it, of every region, are applied in this one.'),
    members: Type.Array(Type.String(), { description: 'The regions that this one knows, itself included.' }),
    delays_ms: Type.Optional(
      Type.Unsafe<{ [region: string]: number }>({
        type: 'object',
        additionalProperties: { type: 'number' },
        description:
          'By region, the least time that its heartbeats lately took to be read here, by the difference of two clocks.',
      }),
    ),
    merges: Type.Optional(
      Type.Boolean({
        description:
          'Whether the agent that wrote it takes in the registry of merge rules; what an older one was sent of it, it passed over.',
      }),
    ),
    claims: Type.Optional(
      Type.Boolean({
        description:
          'Whether the agent that wrote it knows `claim` in changes; an older one takes such a row for a new write.',
      }),
    ),
  },
  { description: 'Written once a second through the WAL of the region; changes no row.' },
);

const run = Type.Object(
  {
    region_id: text('The region that writes the stream.'),
    run: count('The number of the run, higher than that of any before it.'),
    epoch: Type.String({ pattern: `^${EPOCH}$`, description: 'The history of the WAL that the run publishes.' }),
    opened_at: text('When it began, ISO 8601.'),
    forked_at: positionOrNull(
      'Where the history parts from that of the epochs before it; null for the first epoch, and where nothing is shared.',
    ),
  },
  {
    description:
      'The beginning of a run: an agent took over the stream. What an older run still writes behind it is void.',
  },
);

const tableBaseline = Type.Object({
  schema_name: text('Schema of the table.'),
  table_name: text('The table.'),
  columns: Type.Array(Type.String(), {
    description: 'Sorted; generated ones follow from the others and are left out.',
  }),
  rows: count('How many rows it held.'),
  parts: Type.Unsafe<{ [part: string]: [rows: number, digest: string] }>({
    type: 'object',
    additionalProperties: {
      type: 'array',
      items: [{ type: 'integer' }, { type: 'string', pattern: '^[0-9a-f]{32}$' }],
      minItems: 2,
      additionalItems: false,
    },
    description: 'Number of the part → its rows and their digest; parts without rows are left out.',
  }),
  untold: textOrNull('Why nobody can tell any more what it held; null where it is told.'),
});

const baseline = Type.Object(
  {
    region_id: text('The region that writes the stream.'),
    epoch: Type.String({ pattern: `^${EPOCH}$`, description: 'The history of the WAL that it belongs to.' }),
    trusted: Type.Boolean({ description: 'The region takes what others held for equal, by its configuration.' }),
    tables: Type.Union([Type.Array(tableBaseline), Type.Null()], {
      description: 'By table, the number of rows and digests of them; null where it was not read.',
    }),
    untold: textOrNull('Why nobody can tell any more what it was; null otherwise.'),
  },
  {
    description:
      'What the region held where its stream begins: those rows are in no stream. It stands anywhere, amid a transaction too, and may be said again by each run.',
  },
);

const digits = (description: string) => Type.String({ pattern: '^\\d+$', description });

const headers = Type.Object(
  {
    format: Type.Optional(
      digits(
        'The format of the record, 1 where it is absent. One that is higher than the consumer knows is not to be interpreted.',
      ),
    ),
    kind: Type.Enum(['change', 'heartbeat', 'run', 'baseline'], { description: 'What the value is.' }),
    run: digits('The run that wrote it.'),
    position: Type.String({
      pattern: `^(${POSITION})?$`,
      description: 'Position of the transaction or heartbeat; empty for a run and a baseline.',
    }),
    index: digits('Place in the transaction, from 0.'),
    last: Type.Enum(['0', '1'], { description: '1 for the last record of a transaction, and for all that are none.' }),
    region: text('The origin.'),
    event_id: Type.Optional(eventId('Of a change and a heartbeat.')),
    hlc: Type.Optional(hlc('The stamp of a change or a heartbeat.')),
    transaction: Type.Optional(digits('The transaction id at the origin, of a change or a heartbeat.')),
    operation: Type.Optional(text('Of a change.')),
    part: Type.Optional(digits('Of a record in parts: the number of this one, from 0.')),
    parts: Type.Optional(digits('Of a record in parts: how many there are.')),
    split: Type.Optional(text('Of a record in parts: the same in all of its parts, and in those of no other.')),
  },
  { description: 'All are text. A tool may add others.' },
);

export const RECORD_SCHEMAS = { headers, change, heartbeat, run, baseline } satisfies Record<string, TSchema>;

/** The public record of one row change. */
export type ChangeEvent = Frozen<Static<typeof change>>;
export type TransactionInfo = Frozen<Static<typeof transaction>>;
export type HeartbeatRecord = Frozen<Static<typeof heartbeat>>;
export type RunRecord = Frozen<Static<typeof run>>;
export type BaselineRecord = Frozen<Static<typeof baseline>>;
export type TableBaseline = Frozen<Static<typeof tableBaseline>>;
export type RecordHeaders = Frozen<Static<typeof headers>>;
