// The part of the configuration that says where streams live: `log`, and `peers[].log` where a region
// has another one. What it may hold depends on `type`, so each is checked by the schema of its type
// alone: then a problem has the path and the words of that type, and not those of all.
//
// A peer's log takes from the region's own what it does not say itself, where both are of one type.

import { resolve } from 'node:path';
import Type, { type Static, type TSchema } from 'typebox';
import { Default } from 'typebox/value';
import { problemsOf, type SchemaProblem } from './schema-problems.ts';

const closed = { additionalProperties: false } as const;
const text = (description: string) => Type.String({ minLength: 1, description });

const embeddedPlace = {
  type: Type.Enum(['embedded'], {
    default: 'embedded',
    description: 'A log on this machine, which the agents of its regions share.',
  }),
  path: Type.String({ default: './data/log', minLength: 1, description: 'Folder of the log.' }),
};

export const Embedded = Type.Object(
  {
    ...embeddedPlace,
    max_bytes: Type.Integer({
      default: 10 * 1024 ** 3,
      minimum: 1024 ** 2,
      description:
        'Bound of the stream on disk, beside up to 16 MB that are kept for trimming; at the bound capture waits, and the WAL is kept by the slot.',
    }),
    keep_hours: Type.Integer({
      default: 24,
      minimum: 0,
      maximum: 24 * 365,
      description:
        'How long the stream is kept after all have read it, up to half of max_bytes: so old may a copy be from which a database is restored.',
    }),
  },
  closed,
);

const kafkaPlace = {
  type: Type.Enum(['kafka'], { description: 'Topics in a Kafka cluster.' }),
  brokers: Type.Array(Type.String({ pattern: '^(\\[[0-9a-fA-F:]+\\]|[^:\\[\\]\\s]+):[0-9]{1,5}$' }), {
    minItems: 1,
    description: 'Addresses to begin with, host:port each; the brokers tell the others.',
  }),
  client_id: Type.String({
    default: 'syncline',
    pattern: '^[A-Za-z0-9._-]{1,200}$',
    description: 'How the agent is called in the logs and quotas of the brokers.',
  }),
  topic_prefix: Type.String({
    default: 'syncline.',
    pattern: '^[A-Za-z0-9._-]{0,100}$',
    description: 'What the names of all topics begin with; a region has `<prefix><region>.data` and `.control`.',
  }),
  tls: Type.Optional(
    Type.Object(
      {
        ca: Type.Optional(text('PEM file of the authority that signed the certificates of the brokers.')),
        cert: Type.Optional(text('PEM file of the certificate that the agent shows.')),
        key: Type.Optional(text('PEM file of its key.')),
        servername: Type.Optional(text('The name in the certificates, where it is not the host of the address.')),
      },
      { ...closed, description: 'Present, if only as `{}`: the connections are encrypted.' },
    ),
  ),
  sasl: Type.Optional(
    Type.Object(
      {
        mechanism: Type.Enum(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'], {
          description: 'How the user proves who he is.',
        }),
        username: text('Name of the Kafka user.'),
        password: text('Its password.'),
      },
      closed,
    ),
  ),
};

export const Kafka = Type.Object(
  {
    ...kafkaPlace,
    compression: Type.Enum(['none', 'gzip', 'snappy', 'lz4', 'zstd'], {
      default: 'lz4',
      description: 'How batches of records are compressed.',
    }),
    replication_factor: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 100,
        description: 'Copies of a topic that the agent makes; as many as there are brokers, up to 3, unless given.',
      }),
    ),
    keep_hours: Type.Integer({
      default: 168,
      minimum: 1,
      maximum: 24 * 365,
      description: 'How long topics that the agent makes keep an event, read or not: so long may a region be away.',
    }),
  },
  closed,
);

const PeerEmbedded = Type.Object(embeddedPlace, closed);
const PeerKafka = Type.Object(kafkaPlace, closed);
const OtherType = Type.Object({ type: Type.Enum(['embedded', 'kafka']) });

export type EmbeddedLogConfig = Static<typeof Embedded>;
export type KafkaLogConfig = Static<typeof Kafka>;
export type LogConfig = EmbeddedLogConfig | KafkaLogConfig;
export type PeerLogConfig = Static<typeof PeerEmbedded> | Static<typeof PeerKafka>;

type Checked<T> = { readonly value: T; readonly problems: readonly SchemaProblem[] };

/** The log of the region itself. */
export function checkLog(given: unknown): Checked<LogConfig> {
  const value = typeof given === 'object' && given !== null && !Array.isArray(given) ? given : {};
  if (given !== undefined && value !== given) return refused('log');
  const { type = 'embedded' } = value as { type?: unknown };
  const schema = type === 'embedded' ? Embedded : type === 'kafka' ? Kafka : OtherType;
  return checked<LogConfig>(schema, value, 'log');
}

/** The log of another region; `own` is that of this one, as it was given. */
export function checkPeerLog(given: unknown, own: unknown, path: string): Checked<PeerLogConfig> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return refused(path);
  const ownType = typeOf(own);
  const { type = ownType } = given as { type?: unknown };
  if (type === 'kafka') {
    const inherited = ownType === 'kafka' ? pick(own as object, Object.keys(kafkaPlace)) : {};
    return checked<PeerLogConfig>(PeerKafka, { ...inherited, type, ...given }, path);
  }
  return checked<PeerLogConfig>(type === 'embedded' ? PeerEmbedded : OtherType, { type, ...given }, path);
}

/** The same with the paths of its files resolved from a folder. */
export function withPaths<T extends LogConfig | PeerLogConfig>(log: T, folder: string): T {
  if (log.type === 'embedded') return { ...log, path: resolve(folder, log.path) };
  if (log.tls === undefined) return log;
  const files = (['ca', 'cert', 'key'] as const).flatMap((name) => {
    const path = log.tls?.[name];
    return path === undefined ? [] : [[name, resolve(folder, path)] as const];
  });
  return { ...log, tls: { ...log.tls, ...Object.fromEntries(files) } };
}

function checked<T>(schema: TSchema, given: object, path: string): Checked<T> {
  const value: unknown = Default(schema, structuredClone(given));
  const problems = problemsOf(schema, value).map((problem) => ({ ...problem, path: joined(path, problem.path) }));
  return { value: value as T, problems };
}

/** Not the shape of a log at all. */
function refused<T>(path: string): Checked<T> {
  return { value: {} as T, problems: [{ path, kind: 'invalid', message: 'must be object' }] };
}

const joined = (path: string, rest: string): string => (rest === '' ? path : `${path}.${rest}`);

const typeOf = (log: unknown): unknown =>
  typeof log === 'object' && log !== null && 'type' in log ? log.type : 'embedded';

function pick(from: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name)));
}
