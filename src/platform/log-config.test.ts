import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Config, type ConfigProblem, loadConfig, parseConfig } from './config.ts';
import { SynclineError } from './errors.ts';

const HEAD = 'region: eu\ndatabase: postgres://syncline@localhost:5432/shop\n';
const KAFKA = `${HEAD}log: { type: kafka, brokers: ["k1:9092", "[::1]:9093"]`;

function problemsIn(text: string): [string, string][] {
  try {
    parseConfig(text, {});
  } catch (error) {
    assert.ok(error instanceof SynclineError);
    assert.doesNotMatch(error.message, /hunter2/);
    const problems = error.context.problems as ConfigProblem[];
    return problems
      .map(({ code, path }): [string, string] => [code, path])
      .sort(([a, b], [c, d]) => (`${a} ${b}` < `${c} ${d}` ? -1 : 1));
  }
  return [];
}

const kafkaOf = ({ log }: Config): Extract<Config['log'], { type: 'kafka' }> => {
  assert.ok(log.type === 'kafka');
  return log;
};

describe('the log of a configuration', () => {
  test('is embedded unless its type says otherwise, with the defaults of its type', () => {
    assert.deepEqual(parseConfig(HEAD, {}).log, {
      type: 'embedded',
      path: './data/log',
      max_bytes: 10 * 1024 ** 3,
      keep_hours: 24,
    });
    assert.deepEqual(parseConfig(`${HEAD}log: { path: /var/log/syncline }`, {}).log.type, 'embedded');
    assert.deepEqual(kafkaOf(parseConfig(`${KAFKA} }`, {})), {
      type: 'kafka',
      brokers: ['k1:9092', '[::1]:9093'],
      client_id: 'syncline',
      topic_prefix: 'syncline.',
      compression: 'lz4',
      keep_hours: 168,
    });
  });

  test('takes secrets from the environment', () => {
    const sasl = 'sasl: { mechanism: SCRAM-SHA-512, username: eu, password: "${KAFKA_PASSWORD}" }';
    const log = kafkaOf(parseConfig(`${KAFKA}, ${sasl} }`, { KAFKA_PASSWORD: 'hunter2' }));
    assert.equal(log.sasl?.password, 'hunter2');
  });

  test('is checked by its type alone, with exact paths, and without showing what may be secret', () => {
    assert.deepEqual(problemsIn(`${HEAD}log: { type: redis }`), [['SYN-C004', 'log.type']]);
    assert.deepEqual(problemsIn(`${HEAD}log: here`), [['SYN-C004', 'log']]);
    assert.deepEqual(problemsIn(`${HEAD}log: { type: kafka }`), [['SYN-C004', 'log.brokers']]);
    assert.deepEqual(problemsIn(`${HEAD}log: { type: kafka, brokers: [k1, "k2:9092"] }`), [
      ['SYN-C004', 'log.brokers[0]'],
    ]);
    assert.deepEqual(problemsIn(`${KAFKA}, path: ./x }`), [['SYN-C005', 'log.path']]);
    assert.deepEqual(problemsIn(`${HEAD}log: { brokers: ["k1:9092"] }`), [['SYN-C005', 'log.brokers']]);
    assert.deepEqual(problemsIn(`${KAFKA}, sasl: { mechanism: MD5, username: eu, pasword: hunter2 } }`), [
      ['SYN-C004', 'log.sasl.mechanism'],
      ['SYN-C004', 'log.sasl.password'],
      ['SYN-C005', 'log.sasl.pasword'],
    ]);
    assert.deepEqual(problemsIn(`${KAFKA}, compression: best, tls: { certificate: x } }`), [
      ['SYN-C004', 'log.compression'],
      ['SYN-C005', 'log.tls.certificate'],
    ]);
    const peers = 'peers: [{ region: us, log: { topic_prefix: "us." } }, { region: ap, log: { brokers: [] } }]';
    assert.deepEqual(problemsIn(`${KAFKA} }\n${peers}`), [['SYN-C004', 'peers[1].log.brokers']]);
    const keeps = 'peers: [{ region: us, log: { keep_hours: 3 } }]';
    assert.deepEqual(problemsIn(`${KAFKA} }\n${keeps}`), [['SYN-C005', 'peers[0].log.keep_hours']]);
  });

  test('of a peer takes what it does not say from that of the region, where both are of one type', () => {
    const own = `${KAFKA}, client_id: agent, keep_hours: 3, tls: {}, sasl: { mechanism: PLAIN, username: a, password: b } }`;
    const peers = `peers: [{ region: us, log: { brokers: ["k3:9092"] } }, { region: ap },
      { region: sa, log: { type: embedded, path: ../sa } }]`;
    const [us, ap, sa] = parseConfig(`${own}\n${peers}`, {}).peers;
    assert.deepEqual(us?.log, {
      type: 'kafka',
      brokers: ['k3:9092'],
      client_id: 'agent',
      topic_prefix: 'syncline.',
      tls: {},
      sasl: { mechanism: 'PLAIN', username: 'a', password: 'b' },
    });
    assert.equal(ap?.log, undefined);
    assert.deepEqual(sa?.log, { type: 'embedded', path: '../sa' });
  });

  test('has the paths of its files relative to the configuration', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'syncline-test-'));
    try {
      const path = join(folder, 'agent.yaml');
      const peers = 'peers: [{ region: us, log: { topic_prefix: "us.", tls: { ca: /etc/ca.pem } } }]';
      await writeFile(path, `${KAFKA}, tls: { ca: tls/ca.pem, servername: kafka } }\n${peers}`);
      const config = await loadConfig(path, {});
      assert.deepEqual(kafkaOf(config).tls, { ca: join(folder, 'tls/ca.pem'), servername: 'kafka' });
      assert.deepEqual(config.peers[0]?.log?.type === 'kafka' && config.peers[0].log.tls, { ca: '/etc/ca.pem' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
