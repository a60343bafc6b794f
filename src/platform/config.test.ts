import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type ConfigProblem, loadConfig, parseConfig, parseListen } from './config.ts';
import { SynclineError } from './errors.ts';

const MINIMAL = 'region: eu-west\ndatabase: postgres://syncline@localhost:5432/shop\n';

function problemsIn(text: string, environment: Record<string, string> = {}): [string, string][] {
  try {
    parseConfig(text, environment);
  } catch (error) {
    assert.ok(error instanceof SynclineError);
    const problems = error.context.problems as ConfigProblem[];
    for (const { path } of problems) assert.ok(error.message.includes(path));
    return problems.map(({ code, path }) => [code, path]);
  }
  return [];
}

describe('a valid configuration', () => {
  test('gets its defaults', () => {
    const config = parseConfig(MINIMAL, {});
    assert.deepEqual(config.api, { listen: '127.0.0.1:7400', tokens: [] });
    assert.deepEqual(config.tables, { include: ['public.*'], exclude: [] });
    assert.deepEqual(config.peers, []);
    assert.equal(config.log.type, 'embedded');
    assert.equal(config.apply.on_error, 'quarantine');
    assert.equal(config.apply.causal_wait_ms, 2_000);
    assert.equal(config.capture.heartbeat_ms, 1_000);
    // Two configurations must not share the objects of their defaults.
    assert.notEqual(parseConfig(MINIMAL, {}).api.tokens, config.api.tokens);
  });

  test('takes variables of the environment into any text, and never as structure', () => {
    const text = `${MINIMAL}api: { listen: "0.0.0.0:\${PORT}", tokens: [{ token: "a-\${TOKEN}-\${TOKEN}-$\${X}", role: admin }] }`;
    const config = parseConfig(text, { PORT: '7401', TOKEN: '"}] #: x' });
    assert.equal(config.api.listen, '0.0.0.0:7401');
    assert.equal(config.api.tokens[0]?.token, 'a-"}] #: x-"}] #: x-${X}');
  });

  test('has paths relative to its file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'syncline-test-'));
    try {
      const path = join(folder, 'agent.yaml');
      await writeFile(
        path,
        `${MINIMAL}peers: [{ region: us-east, log: { path: ../us } }, { region: ap, api: "https://ap:7400" }]`,
      );
      const config = await loadConfig(path, {});
      assert.equal(config.log.type === 'embedded' && config.log.path, join(folder, 'data/log'));
      assert.deepEqual(config.peers[0]?.log, { type: 'embedded', path: join(folder, '../us') });
      assert.equal(config.peers[1]?.log, undefined);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('an invalid configuration', () => {
  test('that cannot be read or parsed has its own code', async () => {
    await assert.rejects(loadConfig('/nowhere/agent.yaml', {}), { code: 'SYN-C001' });
    assert.throws(() => parseConfig('region: [', {}, 'agent.yaml'), {
      code: 'SYN-C002',
      message: /agent\.yaml: line 1/,
    });
    assert.deepEqual(problemsIn(''), [
      ['SYN-C004', 'region'],
      ['SYN-C004', 'database'],
    ]);
    assert.deepEqual(problemsIn('just text'), [['SYN-C004', '']]);
  });

  test('has all of its problems reported at once, each with its path', () => {
    const text = `
region: EU_West
databse: postgres://x/y
api: { listen: nowhere, tokens: [{ token: "\${NOT_SET}", role: root }] }
tables: { include: [orders] }
apply: { batch_rows_max: 0, causal_wait_ms: soon, on_eror: stop }
peers: [{ region: us, log: { type: tape } }]
`;
    assert.deepEqual(
      problemsIn(text).sort(([a, b], [c, d]) => (a + b < c + d ? -1 : 1)),
      [
        ['SYN-C003', 'api.tokens[0].token'],
        ['SYN-C004', 'api.listen'],
        ['SYN-C004', 'api.tokens[0].role'],
        ['SYN-C004', 'apply.batch_rows_max'],
        ['SYN-C004', 'apply.causal_wait_ms'],
        ['SYN-C004', 'database'],
        ['SYN-C004', 'peers[0].log.type'],
        ['SYN-C004', 'region'],
        ['SYN-C004', 'tables.include[0]'],
        ['SYN-C005', 'apply.on_eror'],
        ['SYN-C005', 'databse'],
      ],
    );
  });

  test('names columns that the conflict log withholds as schema.table.column', () => {
    const redact = (patterns: string): string =>
      `region: eu\ndatabase: postgres://x/y\nconflicts: { redact: [${patterns}] }`;
    assert.deepEqual(problemsIn(redact('public.users.email, "public.cards.*", "*.*.ssn"')), []);
    assert.deepEqual(problemsIn(redact('"public.*"')), [['SYN-C004', 'conflicts.redact[0]']]);
  });

  test('with a misspelled key names the one that was meant', () => {
    assert.throws(() => parseConfig(`${MINIMAL}apply: { on_eror: stop }`, {}), {
      code: 'SYN-C005',
      message: /apply\.on_eror: is no setting; did you mean on_error\?/,
    });
    assert.throws(() => parseConfig(`${MINIMAL}zebra: 1`, {}), { message: /zebra: is no setting; there are region, / });
  });

  test('names regions that contradict each other', () => {
    assert.deepEqual(problemsIn(`${MINIMAL}peers: [{ region: us }, { region: eu-west }, { region: us }]`), [
      ['SYN-C007', 'peers[1].region'],
      ['SYN-C007', 'peers[2].region'],
    ]);
  });

  test('listens beyond loopback only with tokens', () => {
    for (const listen of ['127.0.0.1:1', '127.8.0.1:1', 'localhost:1', '[::1]:1']) {
      assert.deepEqual(problemsIn(`${MINIMAL}api: { listen: "${listen}" }`), [], listen);
    }
    for (const listen of ['0.0.0.0:1', '[::]:1', 'db.example:1', '127.0.0.1.evil.example:1']) {
      assert.deepEqual(problemsIn(`${MINIMAL}api: { listen: "${listen}" }`), [['SYN-C006', 'api.listen']], listen);
    }
    assert.deepEqual(problemsIn(`${MINIMAL}api: { listen: "localhost:65536" }`), [['SYN-C004', 'api.listen']]);
  });

  test('never shows a value that may be secret', () => {
    const text = 'region: EU\ndatabase: mysql://app:hunter2@x/y\napi: { tokens: [{ token: hunter2 }] }\n';
    assert.throws(
      () => parseConfig(text, {}),
      (error) => error instanceof SynclineError && !JSON.stringify([error.message, error.context]).includes('hunter2'),
    );
  });
});

test('an address is split at its last colon', () => {
  assert.deepEqual(parseListen('[::1]:7400'), { host: '::1', port: 7400 });
  assert.deepEqual(parseListen('localhost:0'), { host: 'localhost', port: 0 });
});
