/**
 * How a cluster is reached, and what the topics of a stream are called.
 *
 * A stream has two topics, `<prefix><stream>.data` and `<prefix><stream>.control`. Names of regions pass as they are; any
 * other character is written `_` and the hexadecimal digits of its bytes, so two streams never share a topic. Kafka takes
 * `.` and `_` for the same letter where it makes names of metrics, which is why neither passes as it is.
 */
import { readFile } from 'node:fs/promises';
import { fail } from '../../platform/errors.ts';

export type KafkaCompression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';

export type KafkaLogSettings = {
  /** `host:port` each. */
  readonly brokers: readonly string[];
  readonly client_id: string;
  readonly topic_prefix: string;
  readonly compression: KafkaCompression;
  /** As many as there are brokers, up to three, unless given. */
  readonly replication_factor?: number;
  readonly keep_hours: number;
  /** Paths of PEM files. Present but empty: TLS with the certificate authorities that Node trusts. */
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
  };
  readonly sasl?: { readonly mechanism: SaslMechanism; readonly username: string; readonly password: string };
};

/** What a connection is made with: the PEM files are read. */
export type KafkaAccess = Pick<KafkaLogSettings, 'brokers' | 'client_id' | 'sasl'> & {
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | null;
  readonly servername: string | null;
};

export type TopicNames = { readonly data: string; readonly control: string };

export function topicNames(prefix: string, stream: string): TopicNames {
  const name = prefix + escaped(stream);
  return { data: `${name}.data`, control: `${name}.control` };
}

function escaped(stream: string): string {
  return stream.replace(/[^A-Za-z0-9-]+/g, (odd) => Buffer.from(odd).toString('hex').replace(/../g, '_$&'));
}

/** Reads the PEM files. */
export async function kafkaAccess({ brokers, client_id, tls, sasl }: KafkaLogSettings): Promise<KafkaAccess> {
  const read = async (name: 'ca' | 'cert' | 'key'): Promise<object> => {
    const path = tls?.[name];
    return path === undefined ? {} : { [name]: await readPem(path) };
  };
  return {
    brokers,
    client_id,
    ...(sasl === undefined ? {} : { sasl }),
    tls: tls === undefined ? null : { ...(await read('ca')), ...(await read('cert')), ...(await read('key')) },
    servername: tls?.servername ?? null,
  };
}

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw fail('SYN-L063', `${path} cannot be read: ${code}`, { cause, context: { path } });
  }
}
