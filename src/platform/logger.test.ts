import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fail } from './errors.ts';
import { createLogger, scrub } from './logger.ts';

function capture(write: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(
    createLogger({ level: 'debug', fields: { region: 'eu' }, destination: { write: (line) => void lines.push(line) } }),
  );
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('lines are JSON with time, level, fields and message', () => {
  const [line] = capture((logger) => logger.info({ rows: 5, position: 7n }, 'applied %d rows', 5));
  assert.equal(line?.level, 'info');
  assert.equal(line?.region, 'eu');
  assert.equal(line?.rows, 5);
  assert.equal(line?.position, '7');
  assert.equal(line?.msg, 'applied 5 rows');
  assert.match(String(line?.time), /^\d{4}-\d\d-\d\dT/);
});

test('no secret reaches a line, wherever it stands', () => {
  const url = 'postgres://app:hunter2@db.example/shop';
  const cause = new Error(`cannot reach ${url}`);
  const text = JSON.stringify(
    capture((logger) => {
      logger.info({ config: { database: url, api: { tokens: [{ token: 'hunter2', role: 'admin' }] } } });
      logger.warn({ headers: { Authorization: 'Bearer hunter2' }, PGPASSWORD: 'hunter2' }, url);
      logger.error(fail('SYN-P009', `lost ${url}`, { cause, context: { url } }));
      logger.child({ peer: 'us', url }).error({ err: cause }, 'again: %s', url);
    }),
  );
  assert.doesNotMatch(text, /hunter2/);
  assert.match(text, /postgres:\/\/app:\[redacted\]@db\.example\/shop/);
});

test('an error keeps its code, remedy, context, stack and causes', () => {
  const [line] = capture((logger) =>
    logger.error(fail('SYN-P009', 'lost', { cause: new Error('inner'), context: { database: 'shop' } })),
  );
  const err = line?.err as Record<string, unknown>;
  assert.equal(line?.msg, 'SYN-P009 lost');
  assert.equal(err.code, 'SYN-P009');
  assert.equal(err.type, 'SynclineError');
  assert.deepEqual(err.context, { database: 'shop' });
  assert.match(String(err.stack), /logger\.test/);
  assert.equal((err.cause as Record<string, unknown>).message, 'inner');
});

test('the walk is bounded, also on a loop', () => {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  assert.match(JSON.stringify(scrub(loop)), /\[deeper\]/);
  assert.equal((scrub(Array.from({ length: 1_000 }, () => 0)) as unknown[]).length, 100);
});
