// The log on brokers that are secured as in production; and what it says where it is not let in.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { AclOperations, AclPermissionTypes, ResourcePatternTypes, ResourceTypes } from '@platformatic/kafka';
import { KafkaLog } from '../../src/log/kafka/kafka-log.ts';
import type { KafkaLogSettings } from '../../src/log/kafka/kafka-settings.ts';
import { SynclineError } from '../../src/platform/errors.ts';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { CertificateAuthority } from '../support/certificate-authority.ts';
import { adminOf, kafkaSettings } from '../support/kafka-streams.ts';
import { heartbeat, runStart } from '../support/stream-records.ts';
import { waitFor } from '../support/wait-for.ts';

const ALICE = { name: 'alice', password: 'alice-secret' };
const BOB = { name: 'bob', password: 'bob-secret' };
const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;
const ALL = { records_max: 1_000, bytes_max: 1_000_000 };

describe('the log on brokers with TLS, passwords and rights', () => {
  const authority = new CertificateAuthority();
  let broker: KafkaBroker;
  let folder: string;
  let ca: string;
  let otherCa: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'syncline-kafka-'));
    ca = join(folder, 'ca.pem');
    otherCa = join(folder, 'other.pem');
    await writeFile(ca, authority.certificate);
    await writeFile(otherCa, new CertificateAuthority().certificate);
    broker = await startKafka({
      security: {
        tls: { ...authority.server(), ca: authority.certificate },
        sasl: { mechanisms: MECHANISMS, users: [ALICE, BOB] },
        acls: { superUsers: ['alice'] },
      },
    });
  });
  after(async () => {
    await broker?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const settings = (changes: Partial<KafkaLogSettings> = {}): KafkaLogSettings =>
    kafkaSettings(broker.brokers, {
      tls: { ca },
      sasl: { mechanism: 'SCRAM-SHA-512', username: ALICE.name, password: ALICE.password },
      ...changes,
    });

  /** What the log says to a writer, a reader and a consumer with these settings; it never tells a password. */
  async function refusals(refused: KafkaLogSettings): Promise<string[]> {
    await using log = await KafkaLog.open(refused);
    await using reader = await log.reader('eu');
    const attempts = [log.writer('eu'), reader.read(0, ALL), log.acknowledge('eu', 'us', 1)];
    return await Promise.all(
      attempts.map(async (attempt) => {
        const error: unknown = await attempt.then(
          () => new Error('it was let in'),
          (reason: unknown) => reason,
        );
        assert.ok(error instanceof SynclineError, inspect(error));
        assert.doesNotMatch(inspect(error, { depth: 10 }), /secret/);
        return error.code;
      }),
    );
  }

  for (const mechanism of MECHANISMS) {
    test(`is written and read by ${mechanism}`, async () => {
      const sasl = { mechanism, username: ALICE.name, password: ALICE.password };
      await using log = await KafkaLog.open(settings({ sasl }));
      await using writer = await log.writer('eu');
      const last = await writer.append([runStart(1), heartbeat(1, 1)]);
      await using reader = await log.reader('eu');
      assert.equal((await reader.read(0, ALL)).length, 2);
      await log.acknowledge('eu', 'us', last);
      assert.deepEqual(await log.acknowledged('eu'), new Map([['us', last]]));
    });

    test(`tells a wrong password, and an unknown user, by ${mechanism}`, async () => {
      for (const username of [ALICE.name, 'mallory']) {
        const sasl = { mechanism, username, password: 'wrong-secret' };
        assert.deepEqual(await refusals(settings({ sasl })), ['SYN-L061', 'SYN-L061', 'SYN-L061']);
      }
    });
  }

  test('tells certificates that it does not trust, a name that is not theirs, and a file that is not there', async () => {
    assert.deepEqual(await refusals(settings({ tls: { ca: otherCa } })), ['SYN-L063', 'SYN-L063', 'SYN-L063']);
    assert.deepEqual(await refusals(settings({ tls: {} })), ['SYN-L063', 'SYN-L063', 'SYN-L063']);
    assert.deepEqual(await refusals(settings({ tls: { ca, servername: 'elsewhere.example' } })), [
      'SYN-L063',
      'SYN-L063',
      'SYN-L063',
    ]);
    await assert.rejects(KafkaLog.open(settings({ tls: { ca: join(folder, 'none.pem') } })), { code: 'SYN-L063' });
  });

  test('tells TLS that one side alone speaks', async () => {
    const { tls: _, ...plain } = settings();
    const { sasl: __, ...anonymous } = plain;
    assert.deepEqual(await refusals(anonymous), ['SYN-L063', 'SYN-L063', 'SYN-L063']);
    // Amid a login, and where a listener does not speak it, the connection ends before anything shows why.
    for (const mismatched of [plain, settings({ brokers: broker.internalBrokers })]) {
      for (const code of await refusals(mismatched)) assert.ok(code === 'SYN-L063' || code === 'SYN-L060', code);
    }
  });

  test('names the right that is missing, and goes on once it is given', async () => {
    const sasl = { mechanism: 'SCRAM-SHA-256', username: BOB.name, password: BOB.password } as const;
    const ofBob = settings({ sasl });
    {
      await using log = await KafkaLog.open(ofBob);
      await assert.rejects(log.writer('eu'), { code: 'SYN-L062' });
    }
    await using admin = adminOf(broker);
    const allow = (operation: (typeof AclOperations)[keyof typeof AclOperations]) => ({
      resourceType: ResourceTypes.TOPIC,
      resourceName: ofBob.topic_prefix,
      resourcePatternType: ResourcePatternTypes.PREFIXED,
      principal: 'User:bob',
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    });
    // What the remedy of SYN-L062 names, and no more.
    const { CREATE, DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE } = AclOperations;
    await admin.client.createAcls({ creations: [CREATE, DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE].map(allow) });
    await using log = await KafkaLog.open(ofBob);
    await using writer = await waitFor(async () => await log.writer('eu'), { what: 'the rights to be known' });
    const last = await writer.append([runStart(1), heartbeat(1, 1)]);
    await using reader = await log.reader('eu');
    assert.equal((await reader.read(0, ALL)).at(-1)?.offset, last);
    await log.acknowledge('eu', 'us', last);
    assert.ok((await reader.sizeBytes()) > 0, 'the size is estimated where the cluster may not be asked');
    assert.equal(await log.keptForMs('eu', last + 1), 24 * 3_600_000);
    const other = settings({ sasl });
    assert.deepEqual(new Set(await refusals(other)), new Set(['SYN-L062']));
  });
});
