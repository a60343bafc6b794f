import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ERRORS, fail, isDataFault, isInfrastructure, SynclineError, sqlStateOf } from './errors.ts';

const withCode = (code: string): Error => Object.assign(new Error('boom'), { code });

describe('errors', () => {
  test('a made error carries code, detail, context, cause, class and remedy', () => {
    const cause = withCode('53100');
    const error = fail('SYN-L002', 'cannot write', { cause, context: { path: 'x' } });
    assert.ok(error instanceof SynclineError);
    assert.equal(error.message, 'SYN-L002 cannot write');
    assert.equal(error.detail, 'cannot write');
    assert.equal(error.cause, cause);
    assert.equal(error.class, 'infrastructure');
    assert.equal(error.remedy, ERRORS['SYN-L002'].remedy);
    assert.deepEqual(error.context, { path: 'x' });
  });

  test('every code has the shape SYN-<area><number>', () => {
    for (const code of Object.keys(ERRORS)) assert.match(code, /^SYN-[A-Z][0-9]{3}$/);
  });

  test('infrastructure faults are known by SQLSTATE and errno', () => {
    for (const code of ['08006', '40001', '40P01', '53100', '55P03', '55006', '57P01', '57P03', '57014', '58030']) {
      assert.equal(isInfrastructure(code), true, code);
      assert.equal(isInfrastructure(withCode(code)), true, code);
    }
    for (const code of ['ECONNRESET', 'EPIPE', 'ENOSPC', 'ETIMEDOUT']) {
      assert.equal(isInfrastructure(withCode(code)), true, code);
    }
  });

  test('data faults and programming errors are not infrastructure', () => {
    for (const code of ['22001', '23505', '23P01', '42P01', '42703', '54000', 'P0001']) {
      assert.equal(isInfrastructure(withCode(code)), false, code);
      assert.equal(isDataFault(withCode(code)), true, code);
    }
    for (const code of ['XX000', '28P01', '3D000', '57P01']) assert.equal(isDataFault(code), false, code);
    assert.equal(isInfrastructure(new TypeError('x is not a function')), false);
    assert.equal(isInfrastructure(undefined), false);
  });

  test('the chain of causes is followed until a code decides', () => {
    const wrapped = new Error('outer', { cause: new Error('middle', { cause: withCode('40P01') }) });
    assert.equal(isInfrastructure(wrapped), true);
    assert.equal(sqlStateOf(wrapped), '40P01');
    assert.equal(isInfrastructure(fail('SYN-A001', 'x', { cause: withCode('40P01') })), false);
    assert.equal(sqlStateOf(withCode('EPIPE')), undefined);
  });

  test('what failed and then failed to close can be tried again only where both can', () => {
    const lost = fail('SYN-L002', 'disk I/O error');
    const bug = new TypeError('x is not a function');
    assert.equal(isInfrastructure(new SuppressedError(withCode('EROFS'), lost)), false);
    assert.equal(isInfrastructure(new SuppressedError(withCode('EIO'), lost)), true);
    assert.equal(isInfrastructure(new Error('outer', { cause: new SuppressedError(lost, lost) })), true);
    assert.equal(isInfrastructure(new SuppressedError(lost, bug)), false);
    assert.equal(isInfrastructure(new SuppressedError(bug, lost)), false);
    assert.equal(isInfrastructure(new SuppressedError(lost, new SuppressedError(lost, bug))), false);
    const loop = new SuppressedError(lost, lost);
    loop.suppressed = loop;
    assert.equal(isInfrastructure(loop), false);
  });

  test('a chain of causes that loops ends', () => {
    const loop = new Error('a');
    loop.cause = loop;
    assert.equal(isInfrastructure(loop), false);
  });
});
