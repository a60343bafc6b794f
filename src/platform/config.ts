// The configuration of one agent: a YAML file, checked whole before anything starts.
//
// One schema gives the types, the defaults, the checks and the words of the reference. `${NAME}` in
// a value takes the variable of the environment, after parsing, so that a secret with a colon or a
// quote cannot change the file's structure; `$${` writes a literal `${`. All problems are reported
// at once, each with its path and code, because a file that is mended one error per restart is a
// torment. Relative paths start at the folder of the file.

import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import Type, { type Static } from 'typebox';
import { Default } from 'typebox/value';
import { LineCounter, parseDocument } from 'yaml';
import { type ErrorCode, fail, type SynclineError } from './errors.ts';
import { checkLog, checkPeerLog, type LogConfig, type PeerLogConfig, withPaths } from './log-config.ts';
import { problemsOf, type SchemaProblem } from './schema-problems.ts';

const closed = { additionalProperties: false } as const;
const milliseconds = (byDefault: number, minimum: number, description: string) =>
  Type.Integer({ default: byDefault, minimum, maximum: 86_400_000, description });

const Region = Type.String({ pattern: '^[a-z0-9-]{1,32}$', description: 'Name of a region: a-z, 0-9 and hyphens.' });

const Token = Type.Object(
  {
    token: Type.String({ minLength: 1, description: 'A secret of your own, sent as `Authorization: Bearer …`.' }),
    role: Type.Enum(['viewer', 'operator', 'admin'], {
      description: 'What its bearer may do, each also what those before it may.',
    }),
  },
  closed,
);

const Baseline = (description: string) => Type.Enum(['verify', 'trust'], { default: 'verify', description });

const TablePattern = Type.String({ pattern: '^[^.]+\\..+$', description: 'schema.table, with * for any characters.' });

const ColumnPattern = Type.String({
  pattern: '^[^.]+\\.[^.]+\\..+$',
  description: 'schema.table.column, with * for any characters.',
});

/** All but `log`, whose schema depends on its type. */
export const ConfigSchema = Type.Object(
  {
    region: Region,
    database: Type.String({ pattern: '^postgres(ql)?://', description: 'URL of the database of this region.' }),
    log: Type.Optional(Type.Unknown({ description: 'Where the stream of this region lives: see log-config.ts.' })),
    api: Type.Object(
      {
        listen: Type.String({
          default: '127.0.0.1:7400',
          pattern: '^(\\[[0-9a-fA-F:]+\\]|[^:\\[\\]]+):[0-9]{1,5}$',
          description: 'Address that the API listens at; one that others can reach needs tokens.',
        }),
        tokens: Type.Array(Token, { default: [], description: 'Who may call the API; none is fine on loopback.' }),
      },
      { ...closed, default: {} },
    ),
    tables: Type.Object(
      {
        include: Type.Array(TablePattern, {
          default: ['public.*'],
          minItems: 1,
          description: 'Tables that are replicated.',
        }),
        exclude: Type.Array(TablePattern, { default: [], description: 'Of these, tables that are not.' }),
      },
      { ...closed, default: {} },
    ),
    peers: Type.Array(
      Type.Object(
        {
          region: Region,
          log: Type.Optional(Type.Unknown({ description: 'The same for the region, where it has another one.' })),
          api: Type.Optional(Type.String({ pattern: '^https?://', description: "URL of the peer's API." })),
          token: Type.Optional(
            Type.String({
              minLength: 1,
              description: "For the peer's API, where it asks for one: a viewer's will do.",
            }),
          ),
          baseline: Baseline('The same for this peer alone, which is trusted where either says so.'),
        },
        closed,
      ),
      { default: [], description: 'All other regions.' },
    ),
    baseline: Baseline(
      'Whether rows from before replication began are compared with the peers; `trust` takes them for equal unread.',
    ),
    apply: Type.Object(
      {
        batch_rows_max: Type.Integer({
          default: 5_000,
          minimum: 1,
          maximum: 100_000,
          description:
            'Rows that are applied in one transaction at most, but for a larger one of users, which stays whole.',
        }),
        lead_wait_ms: milliseconds(
          20,
          0,
          'Up to this lead over the local clock an event is waited for, so that what follows it needs no pushed stamp.',
        ),
        causal_wait_ms: milliseconds(2_000, 0, 'How long a transaction waits for what it has seen from elsewhere.'),
        on_error: Type.Enum(['quarantine', 'stop'], {
          default: 'quarantine',
          description: 'What an event that cannot be applied does: is set aside, or stops its link.',
        }),
        lock_timeout_ms: milliseconds(
          100,
          10,
          'How long a batch waits for a lock before it yields; keep it well below deadlock_timeout of the server.',
        ),
        replication_origins: Type.Boolean({
          default: true,
          description:
            'Whether rows are written under replication origins; false where the server lets nobody use them.',
        }),
      },
      { ...closed, default: {} },
    ),
    capture: Type.Object(
      { heartbeat_ms: milliseconds(1_000, 10, 'Period of the heartbeat through the WAL.') },
      { ...closed, default: {} },
    ),
    sequences: Type.Object(
      {
        interleave: Type.Optional(
          Type.Object(
            {
              of: Type.Integer({
                minimum: 2,
                maximum: 1_024,
                description: 'How many shares the numbers are dealt into: as many as there will ever be regions.',
              }),
              offset: Type.Integer({ minimum: 1, maximum: 1_024, description: "This region's share, 1 to `of`." }),
            },
            { ...closed, description: 'The agent gives the sequences of replicated tables a share of the numbers.' },
          ),
        ),
      },
      { ...closed, default: {} },
    ),
    conflicts: Type.Object(
      {
        max_age_days: Type.Integer({
          default: 90,
          minimum: 1,
          maximum: 36_500,
          description: 'Final records of the conflict log are dropped after so many days.',
        }),
        max_records: Type.Integer({
          default: 1_000_000,
          minimum: 1,
          maximum: 1_000_000_000,
          description: 'Beyond so many, the oldest final records of the conflict log are dropped.',
        }),
        redact: Type.Array(ColumnPattern, {
          default: [],
          description:
            'Columns whose values the conflict log withholds, those of keys excepted; give all regions the same.',
        }),
      },
      { ...closed, default: {} },
    ),
    limits: Type.Object(
      { max_clock_drift_ms: milliseconds(60_000, 1, 'Events further ahead of the local clock are held.') },
      { ...closed, default: {} },
    ),
    log_level: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace'], {
      default: 'info',
      description: 'The least serious lines that the agent prints.',
    }),
  },
  closed,
);

type Raw = Static<typeof ConfigSchema>;
type RawPeer = Raw['peers'][number];

export type PeerConfig = Omit<RawPeer, 'log'> & { log?: PeerLogConfig };
export type Config = Omit<Raw, 'log' | 'peers'> & { log: LogConfig; peers: PeerConfig[] };

export interface ConfigProblem {
  readonly code: ErrorCode;
  readonly path: string;
  readonly message: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads and checks the file; throws one SynclineError that lists all problems. */
export async function loadConfig(path: string, environment: Environment = process.env): Promise<Config> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : 'unknown';
    throw fail('SYN-C001', `${path}: ${String(code)}`, { cause, context: { path } });
  }
  const config = parseConfig(text, environment, path);
  const folder = dirname(resolve(path));
  config.log = withPaths(config.log, folder);
  for (const peer of config.peers) if (peer.log !== undefined) peer.log = withPaths(peer.log, folder);
  return config;
}

/** Checks the text of a configuration; `source` names it in messages. */
export function parseConfig(text: string, environment: Environment, source = 'configuration'): Config {
  const problems: ConfigProblem[] = [];
  const value = interpolate(parseYaml(text, source), environment, problems);
  const filled: unknown = Default(ConfigSchema, value ?? {});
  for (const { path, kind, message } of [...problemsOf(ConfigSchema, filled), ...settleLogs(filled)]) {
    // What a missing variable left empty is reported once, as missing.
    if (problems.some((problem) => problem.code === 'SYN-C003' && problem.path === path)) continue;
    problems.push({ code: kind === 'unknown-key' ? 'SYN-C005' : 'SYN-C004', path, message });
  }
  if (problems.length === 0) problems.push(...contradictions(filled as Config));
  if (problems.length > 0) throw configError(problems, source);
  return filled as Config;
}

/** Checks and fills in the logs, each by the schema of its type. */
function settleLogs(config: unknown): SchemaProblem[] {
  if (typeof config !== 'object' || config === null) return [];
  const raw = config as Partial<Raw>;
  const given = raw.log;
  const own = checkLog(given);
  const problems = [...own.problems];
  raw.log = own.value;
  for (const [index, peer] of (Array.isArray(raw.peers) ? raw.peers : []).entries()) {
    if (peer?.log === undefined) continue;
    const checked = checkPeerLog(peer.log, given, `peers[${index}].log`);
    peer.log = checked.value;
    problems.push(...checked.problems);
  }
  return problems;
}

function parseYaml(text: string, source: string): unknown {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  if (document.errors.length > 0) {
    const details = document.errors.map((error) => {
      const { line, col } = lineCounter.linePos(error.pos[0]);
      return `line ${line}, column ${col}: ${error.message}`;
    });
    throw fail('SYN-C002', `${source}: ${details.join('; ')}`, { context: { source, problems: details } });
  }
  return document.toJS({ maxAliasCount: 100 }) as unknown;
}

const VARIABLE = /\$(\$\{)|\$\{([^}]*)\}/g;

/** The value with all variables put in, of every text in it. */
function interpolate(value: unknown, environment: Environment, problems: ConfigProblem[], path = ''): unknown {
  if (typeof value === 'string') {
    return value.replace(VARIABLE, (_, escaped: string | undefined, name: string) => {
      if (escaped !== undefined) return escaped;
      const replacement = environment[name];
      if (replacement === undefined) {
        problems.push({ code: 'SYN-C003', path, message: `the environment has no variable ${name}` });
      }
      return replacement ?? '';
    });
  }
  if (Array.isArray(value)) {
    return value.map((each, index) => interpolate(each, environment, problems, `${path}[${index}]`));
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, each]) => {
    return [key, interpolate(each, environment, problems, path === '' ? key : `${path}.${key}`)] as const;
  });
  return Object.fromEntries(entries);
}

/** What the schema cannot say: settings that exclude each other. */
function contradictions(config: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const seen = new Set([config.region]);
  for (const [index, { region }] of config.peers.entries()) {
    if (seen.has(region)) {
      const message = region === config.region ? 'is this region itself' : `names ${region} a second time`;
      problems.push({ code: 'SYN-C007', path: `peers[${index}].region`, message });
    }
    seen.add(region);
  }
  const { interleave } = config.sequences;
  if (interleave !== undefined && interleave.offset > interleave.of) {
    const message = `is ${interleave.offset}, and there are ${interleave.of} shares`;
    problems.push({ code: 'SYN-C004', path: 'sequences.interleave.offset', message });
  }
  if (interleave !== undefined && interleave.of < seen.size) {
    const message = `is ${interleave.of}, and there are ${seen.size} regions`;
    problems.push({ code: 'SYN-C004', path: 'sequences.interleave.of', message });
  }
  const { host, port } = parseListen(config.api.listen);
  if (port > 65_535) problems.push({ code: 'SYN-C004', path: 'api.listen', message: 'names a port above 65535' });
  if (config.api.tokens.length === 0 && !isLoopback(host)) {
    problems.push({ code: 'SYN-C006', path: 'api.listen', message: `${host} is reachable by others, without tokens` });
  }
  return problems;
}

/** Host and port of `api.listen`, with the brackets of an IPv6 address taken off. */
export function parseListen(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(listen.slice(colon + 1)) };
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);

function configError(problems: readonly ConfigProblem[], source: string): SynclineError {
  const [first] = problems;
  const lines = problems.map(
    ({ code, path, message }) => `  ${code} ${path === '' ? '(the whole)' : path}: ${message}`,
  );
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return fail(first?.code ?? 'SYN-C004', `${source} has ${count}:\n${lines.join('\n')}`, {
    context: { source, problems },
  });
}
