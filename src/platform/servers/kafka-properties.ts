// What an embedded Kafka broker is told: its server.properties, as a pure function of the options.
//
// A broker is a controller too, alone in its quorum unless it is a member of a cluster of several, so
// that one process is a whole cluster. It has
// three loopback listeners: CLIENT, secured as asked for, is what it advertises to the outside;
// INTERNAL and CONTROLLER are plain, for the broker's own talk with itself and for the tests that
// set something up. What comes there is the superuser User:ANONYMOUS, which is why authorization is refused
// without a way for clients to say who they are.
//
// The quorum is named here and not in the data, so that a folder can be started again on other ports.

import { invariant } from '../assert.ts';
import { LOOPBACK } from './free-port.ts';

export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';

export interface KafkaUser {
  readonly name: string;
  readonly password: string;
}

export interface KafkaTls {
  /** PEM: the server's certificate, then those that it was issued by, if any. */
  readonly certificate: string;
  /** PEM of PKCS #8, not encrypted. */
  readonly key: string;
  /** PEM of the authority that issued the certificates of clients. */
  readonly ca: string;
  /** Whether a client has to show a certificate. */
  readonly clientCertificates?: 'none' | 'required';
}

export interface KafkaSecurity {
  readonly tls?: KafkaTls;
  readonly sasl?: { readonly mechanisms: readonly SaslMechanism[]; readonly users: readonly KafkaUser[] };
  /** With it, whoever is not named here has no rights but those that an ACL gives. */
  readonly acls?: { readonly superUsers: readonly string[] };
}

export interface KafkaPorts {
  readonly client: number;
  readonly internal: number;
  readonly controller: number;
}

/** One of several brokers that are a cluster together. */
export interface KafkaMember {
  /** Its number, from 1. */
  readonly node: number;
  readonly clusterId: string;
  /** Of all members, in the order of their numbers: each has to know the others before it starts. */
  readonly ports: readonly KafkaPorts[];
}

export type KafkaSettings = Readonly<Record<string, string>>;

const DEFAULTS: KafkaSettings = {
  'process.roles': 'broker,controller',
  'controller.listener.names': 'CONTROLLER',
  'inter.broker.listener.name': 'INTERNAL',
  'auto.create.topics.enable': 'false',
  // One broker holds all there is of a partition.
  'default.replication.factor': '1',
  'min.insync.replicas': '1',
  'offsets.topic.replication.factor': '1',
  'offsets.topic.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'transaction.state.log.num.partitions': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'share.coordinator.state.topic.num.partitions': '1',
  'group.initial.rebalance.delay.ms': '0',
  // A broker that comes back after a kill has to wait until the session of its former self has ended.
  'broker.heartbeat.interval.ms': '500',
  'broker.session.timeout.ms': '3000',
};

export function kafkaSettings(
  dataFolder: string,
  ports: KafkaPorts,
  security: KafkaSecurity = {},
  member?: KafkaMember,
): KafkaSettings {
  const quorum = (member?.ports ?? [ports]).map(({ controller }, place) => `${place + 1}@${LOOPBACK}:${controller}`);
  const advertised = `CLIENT://${LOOPBACK}:${ports.client},INTERNAL://${LOOPBACK}:${ports.internal}`;
  return {
    ...DEFAULTS,
    'log.dirs': dataFolder,
    'node.id': String(member?.node ?? 1),
    'controller.quorum.voters': quorum.join(),
    listeners: `${advertised},CONTROLLER://${LOOPBACK}:${ports.controller}`,
    'advertised.listeners': advertised,
    'listener.security.protocol.map': `CLIENT:${protocolOf(security)},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    ...tlsSettings(security.tls),
    ...saslSettings(security.sasl),
    ...aclSettings(security),
  };
}

function protocolOf({ tls, sasl }: KafkaSecurity): string {
  if (sasl === undefined) return tls === undefined ? 'PLAINTEXT' : 'SSL';
  return tls === undefined ? 'SASL_PLAINTEXT' : 'SASL_SSL';
}

function tlsSettings(tls: KafkaTls | undefined): KafkaSettings {
  if (tls === undefined) return {};
  return {
    'listener.name.client.ssl.keystore.type': 'PEM',
    'listener.name.client.ssl.keystore.certificate.chain': tls.certificate,
    'listener.name.client.ssl.keystore.key': tls.key,
    'listener.name.client.ssl.truststore.type': 'PEM',
    'listener.name.client.ssl.truststore.certificates': tls.ca,
    'listener.name.client.ssl.client.auth': tls.clientCertificates ?? 'none',
  };
}

function saslSettings(sasl: KafkaSecurity['sasl']): KafkaSettings {
  if (sasl === undefined) return {};
  const users = sasl.users.map(({ name, password }) => ` user_${name}="${password.replaceAll(/["\\]/g, '\\$&')}"`);
  const login = 'org.apache.kafka.common.security';
  return {
    'listener.name.client.sasl.enabled.mechanisms': sasl.mechanisms.join(','),
    'listener.name.client.plain.sasl.jaas.config': `${login}.plain.PlainLoginModule required${users.join('')};`,
    'listener.name.client.scram-sha-256.sasl.jaas.config': `${login}.scram.ScramLoginModule required;`,
    'listener.name.client.scram-sha-512.sasl.jaas.config': `${login}.scram.ScramLoginModule required;`,
  };
}

function aclSettings({ acls, sasl, tls }: KafkaSecurity): KafkaSettings {
  if (acls === undefined) return {};
  const isKnown = sasl !== undefined || tls?.clientCertificates === 'required';
  invariant(isKnown, 'a broker with ACLs can tell its clients apart');
  return {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'allow.everyone.if.no.acl.found': 'false',
    'super.users': ['ANONYMOUS', ...acls.superUsers].map((user) => `User:${user}`).join(';'),
  };
}

/** What `format` is told of users whose mechanism keeps them in the cluster's metadata. */
export function scramOptions(security: KafkaSecurity): string[] {
  const { mechanisms = [], users = [] } = security.sasl ?? {};
  return mechanisms
    .filter((mechanism) => mechanism !== 'PLAIN')
    .flatMap((mechanism) =>
      users.flatMap(({ name, password }) => {
        invariant(/^[\w.-]+$/.test(name) && /^[\w.-]+$/.test(password), 'a user and a password that format can take');
        return ['--add-scram', `${mechanism}=[name=${name},password=${password}]`];
      }),
    );
}

/** The text of a properties file, which Java reads as Latin-1 with escapes. */
export function propertiesText(settings: KafkaSettings): string {
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${escapeValue(value)}\n`);
  return lines.join('');
}

const escapeValue = (value: string): string =>
  value.replaceAll(/[^\x20-\x7e]|\\|^ /g, (character) => {
    if (character === '\\' || character === ' ') return `\\${character}`;
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
