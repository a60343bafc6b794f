// Brokers that are secured as in production: certificates, passwords, and rights. What is refused is as
// important here as what goes.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  AclOperations,
  AclPermissionTypes,
  Admin,
  ResourcePatternTypes,
  ResourceTypes,
  type SASLMechanismValue,
} from '@platformatic/kafka';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { CertificateAuthority } from '../support/certificate-authority.ts';
import { type KafkaAccess, KafkaTopic } from '../support/kafka-topic.ts';

const ALICE = { name: 'alice', password: 'alice-secret' };
const BOB = { name: 'bob', password: 'bob-secret' };
const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;

const authority = new CertificateAuthority();
const tls = { ...authority.server(), ca: authority.certificate };

/** Whether an error, or one that led to it, has the property. */
const has =
  (property: string, value: unknown) =>
  (error: unknown): boolean => {
    if (!(error instanceof Error)) return false;
    if (property in error && (error as Error & Record<string, unknown>)[property] === value) return true;
    return [error.cause, ...(error instanceof AggregateError ? error.errors : [])].some(has(property, value));
  };

/** Whether a client with this access can use a topic that is there already. */
async function exchange(broker: KafkaBroker, access: KafkaAccess, topic?: KafkaTopic): Promise<void> {
  const there = topic ?? (await new KafkaTopic(broker.internalBrokers).create());
  const seen = new KafkaTopic(broker.brokers, { name: there.name, access: { retries: 2, ...access } });
  await seen.send('secured');
  assert.deepEqual(await seen.read(1), ['secured']);
}

describe('a broker with TLS, passwords and rights', () => {
  let broker: KafkaBroker;
  before(async () => {
    broker = await startKafka({
      security: { tls, sasl: { mechanisms: MECHANISMS, users: [ALICE, BOB] }, acls: { superUsers: ['alice'] } },
    });
  });
  after(async () => await broker?.[Symbol.asyncDispose]());

  const accessOf = (user: typeof ALICE, mechanism: SASLMechanismValue = 'SCRAM-SHA-512'): KafkaAccess => ({
    tls: { ca: authority.certificate },
    sasl: { mechanism, username: user.name, password: user.password },
  });

  for (const mechanism of MECHANISMS) {
    test(`takes the right password by ${mechanism}`, async () => await exchange(broker, accessOf(ALICE, mechanism)));

    test(`refuses a wrong password by ${mechanism}`, async () => {
      const wrong = accessOf({ ...ALICE, password: BOB.password }, mechanism);
      await assert.rejects(exchange(broker, wrong), has('code', 'PLT_KFK_AUTHENTICATION'));
    });
  }

  test('refuses who does not speak TLS, does not log in, or trusts another authority', async () => {
    const { sasl } = accessOf(ALICE);
    assert.ok(sasl !== undefined);
    await assert.rejects(exchange(broker, { sasl }));
    await assert.rejects(exchange(broker, { tls: { ca: authority.certificate } }));
    const other = new CertificateAuthority().certificate;
    await assert.rejects(exchange(broker, { sasl, tls: { ca: other } }));
  });

  test('leaves a user without rights until an ACL gives them', async () => {
    const topic = await new KafkaTopic(broker.internalBrokers).create();
    await assert.rejects(exchange(broker, accessOf(BOB), topic), has('apiId', 'CLUSTER_AUTHORIZATION_FAILED'));

    await using admin = await adminOf(broker);
    const allow = {
      resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: 'User:bob',
      host: '*',
      operation: AclOperations.ALL,
      permissionType: AclPermissionTypes.ALLOW,
    };
    await admin.client.createAcls({
      creations: [
        { ...allow, resourceType: ResourceTypes.TOPIC, resourceName: topic.name },
        { ...allow, resourceType: ResourceTypes.GROUP, resourceName: '*' },
      ],
    });
    await exchange(broker, accessOf(BOB), topic);
    await assert.rejects(exchange(broker, accessOf(BOB)), has('apiId', 'TOPIC_AUTHORIZATION_FAILED'));
  });

  test('knows its users again after a kill', async () => {
    await broker.kill();
    await broker.restart();
    await exchange(broker, accessOf(ALICE));
  });
});

test('a broker that asks for certificates takes those of its authority alone', async () => {
  await using broker = await startKafka({ security: { tls: { ...tls, clientCertificates: 'required' } } });
  const withCertificate = ({ key, certificate: cert }: { key: string; certificate: string }): KafkaAccess => ({
    tls: { ca: authority.certificate, key, cert },
  });
  await exchange(broker, withCertificate(authority.client('alice')));
  await assert.rejects(exchange(broker, { tls: { ca: authority.certificate } }));
  await assert.rejects(exchange(broker, withCertificate(new CertificateAuthority().client('alice'))));
});

async function adminOf(broker: KafkaBroker): Promise<AsyncDisposable & { client: Admin }> {
  const client = new Admin({ clientId: 'admin', bootstrapBrokers: broker.internalBrokers });
  return { client, [Symbol.asyncDispose]: async () => await client.close() };
}
