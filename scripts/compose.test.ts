// compose.yaml and what it mounts belong together: names, addresses and files match, and every agent's
// configuration is valid. Whether Docker runs it is not told here.

import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { parseConfig } from '../src/platform/config.ts';

const ROOT = join(import.meta.dirname, '..');
const REGIONS = ['eu-west', 'us-east', 'ap-south'];
const ENVIRONMENT = { DB_PASSWORD: 'p', API_TOKEN: 't' };

interface Service {
  readonly command?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly healthcheck: unknown;
}

interface Place {
  readonly type: string;
  readonly brokers: readonly string[];
}

const read = async (path: string): Promise<string> => await readFile(join(ROOT, path), 'utf8');

const { services, volumes } = parse(await read('compose.yaml'), { merge: true }) as {
  services: Readonly<Record<string, Service>>;
  volumes: Readonly<Record<string, unknown>>;
};
const service = (name: string): Service => {
  const found = services[name];
  assert.ok(found !== undefined, `a service ${name}`);
  return found;
};

test('every region has a database, a cluster and an agent, and nothing else is started', () => {
  const expected = REGIONS.flatMap((region) => [`postgres-${region}`, `kafka-${region}`, `agent-${region}`]);
  assert.deepEqual(Object.keys(services).sort(), expected.sort());
  for (const each of Object.values(services)) assert.ok(each.healthcheck !== undefined);
});

test('what is mounted exists, and ports are published on loopback, each once', async () => {
  const all = Object.values(services);
  for (const source of all.flatMap((each) => each.volumes).map((volume) => volume.split(':')[0] ?? '')) {
    if (source.startsWith('.')) assert.ok((await stat(join(ROOT, source))).size > 0);
    else assert.ok(source in volumes, `a volume ${source}`);
  }
  const published = all.flatMap((each) => each.ports ?? []);
  assert.equal(new Set(published).size, 2 * REGIONS.length);
  for (const port of published) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/);
});

for (const region of REGIONS) {
  test(`the agent of ${region} finds its database, its cluster and its peers`, async () => {
    const agent = service(`agent-${region}`);
    assert.deepEqual(agent.command, ['agent', '-c', `/etc/syncline/${region}.yaml`]);
    assert.deepEqual(Object.keys(agent.depends_on ?? {}).sort(), [`kafka-${region}`, `postgres-${region}`]);
    assert.deepEqual(Object.keys(agent.environment).sort(), Object.keys(ENVIRONMENT).sort());

    const raw = parse(await read(`deploy/compose/${region}.yaml`)) as {
      log?: Place;
      peers: { region: string; log?: Place }[];
    };
    const places = [{ region, log: raw.log }, ...raw.peers].map((each) => [each.region, each.log?.brokers]);
    for (const [name, brokers] of places) {
      assert.deepEqual(brokers, [`kafka-${String(name)}:9092`]);
      const { environment } = service(`kafka-${String(name)}`);
      assert.equal(environment.KAFKA_ADVERTISED_LISTENERS, `PLAINTEXT://${brokers?.[0]}`);
    }
    const config = parseConfig(stringify(raw), ENVIRONMENT);

    assert.equal(config.region, region);
    assert.deepEqual(config.peers.map((peer) => peer.region).sort(), REGIONS.filter((name) => name !== region).sort());
    for (const peer of config.peers) assert.equal(peer.api, `http://agent-${peer.region}:7400`);
    const database = new URL(config.database);
    const postgres = service(`postgres-${region}`);
    assert.equal(database.host, `postgres-${region}:5432`);
    assert.equal(database.username, postgres.environment.POSTGRES_USER);
    assert.equal(database.pathname, `/${postgres.environment.POSTGRES_DB}`);
    assert.ok(postgres.command?.includes('wal_level=logical'));
    assert.ok(postgres.command?.includes('track_commit_timestamp=on'));
  });
}

test('the image is made of what is there, and what is left out of the build is no part of it', async () => {
  const copied = [...(await read('Dockerfile')).matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, paths]) =>
    paths?.split(' '),
  );
  const letIn = [...(await read('.dockerignore')).matchAll(/^!(.+)$/gm)].map(([, path]) => path);
  assert.deepEqual(new Set(copied), new Set(letIn));
  for (const path of copied) assert.ok((await stat(join(ROOT, path ?? ''))).size > 0);
});
