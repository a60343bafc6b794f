/**
 * Agents on brokers that are secured as in production; and what doctor, and the status of a running agent, say where the
 * brokers refuse them. Every refusal has its code, and an agent goes on with what is right again.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { AclOperations, AclPermissionTypes, ResourcePatternTypes, ResourceTypes } from '@platformatic/kafka';
import { checkKafkaLogs } from '../../../src/cli/doctor-kafka.ts';
import { loadConfig } from '../../../src/platform/config.ts';
import type { ErrorCode } from '../../../src/platform/errors.ts';
import { type KafkaBroker, startKafka } from '../../../src/platform/servers/embedded-kafka.ts';
import { agentStatus, linkFrom } from '../../support/agent-client.ts';
import { CertificateAuthority } from '../../support/certificate-authority.ts';
import { Cluster, type ClusterRegion } from '../../support/cluster.ts';
import { adminOf } from '../../support/kafka-streams.ts';
import { OldKafka } from '../../support/old-kafka.ts';
import { waitFor } from '../../support/wait-for.ts';

const USERS = ['agent', 'reader', 'neighbour', 'maker-of-nothing'].map((name) => ({
  name,
  password: `${name}-secret`,
}));
const PREFIX = 'secured.';
const { CREATE, DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE } = AclOperations;

describe('agents on brokers with TLS, SCRAM and rights', () => {
  const authority = new CertificateAuthority();
  let folder: string;
  let broker: KafkaBroker;
  let cluster: Cluster;
  let eu: ClusterRegion;
  let us: ClusterRegion;
  /** The configuration of eu with which all is well. */
  let well: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'syncline-kafka-'));
    await writeFile(join(folder, 'ca.pem'), authority.certificate);
    await writeFile(join(folder, 'other.pem'), new CertificateAuthority().certificate);
    broker = await startKafka({
      security: {
        tls: { ...authority.server(), ca: authority.certificate },
        sasl: { mechanisms: ['SCRAM-SHA-512'], users: USERS },
        acls: { superUsers: [] },
      },
      // Clusters of others often have it on. No topic may come into being by being asked for.
      overrides: { 'auto.create.topics.enable': 'true' },
    });
    await allow('agent', PREFIX, [CREATE, DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE]);
    cluster = await Cluster.start({
      regions: ['eu', 'us'],
      schema: 'create table item (id int primary key, v text)',
      log: `{ type: kafka, brokers: ["${broker.brokers[0]}"], topic_prefix: ${PREFIX}, tls: { ca: ${join(folder, 'ca.pem')} },
  sasl: { mechanism: SCRAM-SHA-512, username: agent, password: agent-secret } }`,
    });
    [eu, us] = [cluster.region('eu'), cluster.region('us')];
    well = await readFile(eu.configPath, 'utf8');
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  type Operation = (typeof AclOperations)[keyof typeof AclOperations];

  async function allow(user: string, prefix: string, operations: readonly Operation[]): Promise<void> {
    await using admin = adminOf(broker);
    const creations = operations.map((operation) => ({
      resourceType: ResourceTypes.TOPIC,
      resourceName: prefix,
      resourcePatternType: ResourcePatternTypes.PREFIXED,
      principal: `User:${user}`,
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    }));
    await admin.client.createAcls({ creations });
  }

  async function topics(): Promise<string[]> {
    await using admin = adminOf(broker);
    return (await admin.client.listTopics()).filter((name) => !name.startsWith('__')).sort();
  }

  /** The configuration of eu, changed: as another user, in topics of another prefix, or anything else. */
  function changed(...changes: readonly (readonly [from: string, to: string])[]): string {
    let text = well;
    for (const [from, to] of changes) {
      assert.ok(text.includes(from), from);
      text = text.replaceAll(from, to);
    }
    return text;
  }

  const as = (user: string): (readonly [string, string])[] => [
    ['username: agent', `username: ${user}`],
    ['agent-secret', `${user}-secret`],
  ];

  async function worksAgain(what: string): Promise<void> {
    await writeFile(eu.configPath, well);
    await eu.stopAgent();
    eu.startAgent();
    await works(what);
  }

  async function works(what: string): Promise<void> {
    await eu.agentReady();
    await eu.sql(`insert into item select coalesce(max(id), 0) + 1, '${what}, eu' from item`);
    await cluster.settle();
    await us.sql(`insert into item select coalesce(max(id), 0) + 1, '${what}, us' from item`);
    await cluster.settle();
    await cluster.equal('select * from item order by id');
    assert.deepEqual((await agentStatus(eu)).problems, []);
  }

  type Refusal = { readonly codes: readonly ErrorCode[]; readonly says: RegExp; readonly region?: ClusterRegion };

  /** What doctor finds of the log, and what an agent says of its capture, which neither ends nor is ready. */
  async function refused(config: string, { codes, says, region = eu }: Refusal): Promise<void> {
    await region.stopAgent();
    await writeFile(region.configPath, config);
    const findings = await checkKafkaLogs(await loadConfig(region.configPath));
    assert.ok(findings.length > 0, 'doctor finds something');
    for (const { code, what, fix } of findings) {
      assert.ok((codes as readonly string[]).includes(code), `${code}: ${what}`);
      assert.match(what, says);
      assert.ok(fix.length > 10);
      assert.doesNotMatch(what + fix, /secret/);
    }
    region.startAgent();
    const problem = await waitFor(
      async () => {
        const status = await agentStatus(region);
        return status.ready === false ? status.capture.problem : null;
      },
      { what: `${region.name} to tell why it does not capture; it printed:\n${region.output}`, limitMs: 60_000 },
    );
    assert.ok(codes.includes(problem.code), `${problem.code}: ${problem.detail}`);
    assert.match(problem.detail, says);
    assert.equal(region.agent?.exitCode, null, 'it waits for what an operator mends');
    assert.doesNotMatch(region.output, /-secret|wrong-password/);
  }

  test('replicate in both directions', async () => {
    await worksAgain('secured');
    assert.deepEqual(await topics(), [
      'secured.eu.control',
      'secured.eu.data',
      'secured.us.control',
      'secured.us.data',
    ]);
    assert.deepEqual(await checkKafkaLogs(await loadConfig(eu.configPath)), []);
  });

  test('a wrong password, and an unknown user', async () => {
    await refused(changed(['agent-secret', 'wrong-password']), { codes: ['SYN-L061'], says: /SCRAM-SHA-512 as agent/ });
    await refused(changed(['username: agent', 'username: mallory']), {
      codes: ['SYN-L061'],
      says: /SCRAM-SHA-512 as mallory/,
    });
    await worksAgain('the right password');
  });

  test('an authority that did not sign the certificate of the broker, and no TLS at all', async () => {
    await refused(changed(['ca.pem', 'other.pem']), { codes: ['SYN-L063'], says: /certificate/ });
    const tls = `tls: { ca: ${join(folder, 'ca.pem')} },`;
    // The broker hangs up on what it does not understand, and nothing shows why.
    await refused(changed([tls, '']), { codes: ['SYN-L060', 'SYN-L063'], says: /no TLS/ });
    await worksAgain('the right authority');
  });

  test('a user who lacks a right on topics that are there, until it is given', async () => {
    await allow('reader', PREFIX, [DESCRIBE, DESCRIBE_CONFIGS, READ]);
    await refused(changed(...as('reader')), { codes: ['SYN-L062'], says: /secured\.eu\.(data|control)/ });
    const pid = eu.agent?.pid;
    await allow('reader', PREFIX, [WRITE]);
    await works('with the right');
    assert.equal(eu.agent?.pid, pid, 'it goes on by itself');
    await worksAgain('another user');
  });

  test('a user who may not read the topics of a peer, until he may: everything else goes on', async () => {
    await allow('neighbour', `${PREFIX}eu`, [DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE]);
    await eu.stopAgent();
    await writeFile(eu.configPath, changed(...as('neighbour')));
    eu.startAgent();
    await eu.agentReady();
    const reason = await waitFor(async () => (await linkFrom('us', eu)).reason, { what: 'the link to tell why' });
    assert.equal(reason.code, 'SYN-L062', reason.detail);
    const pid = eu.agent?.pid;
    await allow('neighbour', `${PREFIX}us`, [DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE]);
    await waitFor(async () => (await linkFrom('us', eu)).reason === null, {
      what: 'the link to go on',
      limitMs: 60_000,
    });
    await works('with the right to read');
    assert.equal(eu.agent?.pid, pid, 'it goes on by itself');
    await worksAgain('another user');
  });

  test('topics that are not there, and may not be made: nothing makes them by asking', async () => {
    const before = await topics();
    await allow('maker-of-nothing', 'unknown.', [DESCRIBE, DESCRIBE_CONFIGS, READ, WRITE]);
    await using fresh = await Cluster.start({ regions: ['ap'], schema: '', agents: false });
    const region = fresh.region('ap');
    const tlsAndLogin = /^log: .*?(tls: .*}) }\n(?=api:)/ms.exec(well)?.[1] ?? '';
    const withLog = (prefix: string, more: string, user: string): string => {
      const login = tlsAndLogin
        .replace('username: agent', `username: ${user}`)
        .replace('agent-secret', `${user}-secret`);
      const brokers = JSON.stringify(broker.brokers);
      return `region: ap
database: ${region.url}
log: { type: kafka, brokers: ${brokers}, topic_prefix: ${prefix}, ${more}${login} }
api: { listen: "127.0.0.1:${region.port}" }
peers: []
`;
    };
    await refused(withLog('unknown.', '', 'maker-of-nothing'), {
      codes: ['SYN-L062'],
      says: /unknown\.ap\.data.*cannot be created/,
      region,
    });
    await refused(withLog('secured.more.', 'replication_factor: 3, ', 'agent'), {
      codes: ['SYN-L068'],
      says: /secured\.more\.ap\.data with 3 replica/,
      region,
    });
    assert.deepEqual(await topics(), before);
  });

  for (const version of ['2.3', '2.4'] as const) {
    test(`brokers of version ${version}`, async () => {
      await using old = await OldKafka.start(version);
      const log = /^log: .*?}\n(?=api:)/ms;
      await refused(well.replace(log, `log: { type: kafka, brokers: ["${old.address}"], topic_prefix: ${PREFIX} }\n`), {
        codes: ['SYN-L067'],
        says: new RegExp(old.address),
      });
      await worksAgain('brokers of today');
    });
  }
});
