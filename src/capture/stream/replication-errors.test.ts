import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DatabaseError } from 'pg';
import { type ErrorCode, fail, sqlStateOf } from '../../platform/errors.ts';
import type { ServerReport } from './copy-framing.ts';
import { clientFailure, codeOf, type ReplicationPhase, serverFailure } from './replication-errors.ts';

function report(sqlState: string, where: { routine?: string; file?: string } = {}): ServerReport {
  return {
    severity: 'ERROR',
    sqlState,
    message: 'irgendetwas',
    detail: 'Einzelheiten.',
    hint: undefined,
    file: where.file,
    routine: where.routine,
  };
}

describe('codes of replication failures', () => {
  const cases: readonly [ReplicationPhase, ServerReport, ErrorCode][] = [
    ['connect', report('28P01'), 'SYN-P008'],
    ['connect', report('28000'), 'SYN-P008'],
    ['connect', report('3D000'), 'SYN-P010'],
    ['connect', report('42501', { routine: 'InitPostgres' }), 'SYN-P004'],
    ['connect', report('42501', { routine: 'CheckMyDatabase' }), 'SYN-P011'],
    ['connect', report('53300', { routine: 'InitProcess' }), 'SYN-P003'],
    ['connect', report('53300', { routine: 'ProcessStartupPacket' }), 'SYN-P009'],
    ['connect', report('57P03'), 'SYN-P009'],
    ['create-slot', report('42501'), 'SYN-P004'],
    ['create-slot', report('53400'), 'SYN-P003'],
    ['create-slot', report('55000', { routine: 'CheckLogicalDecodingRequirements' }), 'SYN-P001'],
    ['create-slot', report('0A000', { routine: 'CheckLogicalDecodingRequirements' }), 'SYN-P014'],
    ['create-slot', report('42710'), 'SYN-K010'],
    ['start', report('42704'), 'SYN-K001'],
    ['start', report('55000', { routine: 'CreateDecodingContext' }), 'SYN-K001'],
    ['start', report('55000', { routine: 'CheckLogicalDecodingRequirements' }), 'SYN-P001'],
    ['start', report('55006'), 'SYN-K004'],
    ['stream', report('42704'), 'SYN-K002'],
    ['stream', report('55000', { routine: 'LoadPublications' }), 'SYN-K002'],
    ['stream', report('58P01'), 'SYN-K001'],
    ['stream', report('54000'), 'SYN-K007'],
    ['stream', report('XX000', { file: 'mcxt.c' }), 'SYN-K007'],
    ['stream', report('XX000', { file: 'relcache.c' }), 'SYN-K010'],
    ['stream', report('57P01'), 'SYN-K003'],
    ['stream', report('53200'), 'SYN-K003'],
  ];

  for (const [phase, given, code] of cases) {
    test(`${given.sqlState} ${given.routine ?? given.file ?? ''} in phase ${phase} is ${code}`, () => {
      assert.equal(codeOf(given, phase), code);
    });
  }

  test('a failure keeps what the server said, as message, context and cause', () => {
    const failure = serverFailure(report('55006'), 'start', { slot: 's' });
    assert.equal(failure.message, 'SYN-K004 irgendetwas. Einzelheiten (SQLSTATE 55006)');
    assert.deepEqual(failure.context, { slot: 's', phase: 'start', sqlState: '55006' });
    assert.equal(sqlStateOf(failure), '55006');
  });

  test('errors of the client library are told apart by SQLSTATE, and by phase without one', () => {
    const error = new DatabaseError('irgendetwas', 0, 'error');
    error.code = '55006';
    assert.equal(clientFailure(error, 'start', {}).code, 'SYN-K004');
    assert.equal(clientFailure(new Error('read ECONNRESET'), 'stream', {}).code, 'SYN-K003');
    assert.equal(clientFailure(new Error('read ECONNRESET'), 'connect', {}).code, 'SYN-P009');
    const typed = fail('SYN-K007', 'x');
    assert.equal(clientFailure(typed, 'stream', {}), typed);
  });
});
