import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fail } from './errors.ts';
import { arrayText, connectError, describeUrl, quoteIdent, quoteLiteral, sessionSettings } from './postgres.ts';

const withCode = (code: string): Error => Object.assign(new Error('boom'), { code });
const URL_WITH_PASSWORD = 'postgres://app:secret@db.example:5433/shop?sslmode=disable';

describe('quoting', () => {
  test('identifiers double their quotes', () => {
    assert.equal(quoteIdent('Order "x"'), '"Order ""x"""');
    assert.throws(() => quoteIdent(''), { name: 'InvariantViolation' });
    assert.throws(() => quoteIdent('a\0b'), { name: 'InvariantViolation' });
  });

  test('literals double their quotes, and backslashes take the E form', () => {
    assert.equal(quoteLiteral("it's"), "'it''s'");
    assert.equal(quoteLiteral("\\'"), " E'\\\\'''");
    assert.throws(() => quoteLiteral('\0'), { name: 'InvariantViolation' });
  });

  test('array elements are quoted, so that no text is taken for syntax or NULL', () => {
    assert.equal(arrayText([]), '{}');
    assert.equal(arrayText(['a', null, 'NULL', '', '"\\,{}']), '{"a",NULL,"NULL","","\\"\\\\,{}"}');
  });
});

describe('connection errors', () => {
  test('are told apart by SQLSTATE and errno, and never name the password', () => {
    const cases = [
      ['28P01', 'SYN-P008'],
      ['28000', 'SYN-P008'],
      ['3D000', 'SYN-P010'],
      ['42501', 'SYN-P005'],
      ['53300', 'SYN-P009'],
      ['57P03', 'SYN-P009'],
      ['ECONNREFUSED', 'SYN-P009'],
      ['ERR_TLS_CERT_ALTNAME_INVALID', 'SYN-P016'],
      ['DEPTH_ZERO_SELF_SIGNED_CERT', 'SYN-P016'],
      ['42704', 'SYN-P011'],
    ] as const;
    for (const [code, expected] of cases) {
      const error = connectError(withCode(code), URL_WITH_PASSWORD);
      assert.equal(error.code, expected, code);
      assert.match(error.message, /db\.example:5433\/shop/);
      assert.doesNotMatch(JSON.stringify([error.message, error.context]), /secret/);
    }
    assert.equal(connectError(new Error('timeout expired'), URL_WITH_PASSWORD).code, 'SYN-P009');
    assert.equal(connectError(fail('SYN-P008', 'no password'), URL_WITH_PASSWORD).detail, 'no password');
  });

  test('a URL that cannot be parsed is described without its text', () => {
    assert.equal(describeUrl('not a url'), 'database');
  });
});

test('the pinned settings are set one by one, with their values quoted', () => {
  const control = sessionSettings({ applicationName: "it's", statementTimeoutMs: 5, lockTimeoutMs: 6 });
  assert.match(control, /set datestyle = 'ISO, YMD';/);
  assert.match(control, /set application_name = 'it''s'; set statement_timeout = '5'; set lock_timeout = '6'$/);
});
