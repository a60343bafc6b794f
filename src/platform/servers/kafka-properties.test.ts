import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kafkaSettings, propertiesText, scramOptions } from './kafka-properties.ts';

const PORTS = { client: 1, internal: 2, controller: 3 };
const USERS = [{ name: 'alice', password: 'secret' }];

test('a value keeps every character, as Java reads a properties file', () => {
  const text = propertiesText({ a: ' b\\c=d:e', key: 'one\ntwo\r', name: 'ä€' });
  assert.equal(text, 'a=\\ b\\\\c=d:e\nkey=one\\u000atwo\\u000d\nname=\\u00e4\\u20ac\n');
});

test('only the listener for clients is secured', () => {
  const tls = { certificate: 'C', key: 'K', ca: 'A' };
  const sasl = { mechanisms: ['PLAIN', 'SCRAM-SHA-512'], users: USERS } as const;
  const protocol = (security: Parameters<typeof kafkaSettings>[2]) =>
    kafkaSettings('/data', PORTS, security)['listener.security.protocol.map'];
  assert.equal(protocol({}), 'CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT');
  assert.match(protocol({ tls }) ?? '', /^CLIENT:SSL,INTERNAL:PLAINTEXT/);
  assert.match(protocol({ sasl }) ?? '', /^CLIENT:SASL_PLAINTEXT,INTERNAL:PLAINTEXT/);
  assert.match(protocol({ tls, sasl }) ?? '', /^CLIENT:SASL_SSL,INTERNAL:PLAINTEXT/);
});

test('a password may hold what quotes in a login module would end at', () => {
  const sasl = { mechanisms: ['PLAIN'], users: [{ name: 'bob', password: 'a"b\\' }] } as const;
  const login = kafkaSettings('/data', PORTS, { sasl })['listener.name.client.plain.sasl.jaas.config'];
  assert.match(login ?? '', / required user_bob="a\\"b\\\\";$/);
});

test('rights are refused where nobody can tell clients apart, since the plain listeners are all-powerful', () => {
  const acls = { superUsers: ['alice'] };
  assert.throws(() => kafkaSettings('/data', PORTS, { acls }), /tell its clients apart/);
  const settings = kafkaSettings('/data', PORTS, { acls, sasl: { mechanisms: ['PLAIN'], users: USERS } });
  assert.equal(settings['super.users'], 'User:ANONYMOUS;User:alice');
});

test('only users of SCRAM are written when a folder is formatted', () => {
  const options = scramOptions({ sasl: { mechanisms: ['PLAIN', 'SCRAM-SHA-256'], users: USERS } });
  assert.deepEqual(options, ['--add-scram', 'SCRAM-SHA-256=[name=alice,password=secret]']);
  assert.deepEqual(scramOptions({}), []);
});
