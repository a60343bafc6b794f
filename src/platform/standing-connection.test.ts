import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { fail } from './errors.ts';
import type { PostgresClient, TextResult } from './postgres.ts';
import { StandingConnection, type StandingOptions } from './standing-connection.ts';

/** A stand-in for the client, whose statements are answered by hand. */
class FakeClient {
  readonly #lost = new AbortController();
  readonly waiting: ((rows: number) => void)[] = [];
  ended = false;

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  query(): Promise<TextResult> {
    return new Promise((resolve) => {
      this.waiting.push((rowCount) => resolve({ rows: [], rowCount, command: 'SELECT' }));
    });
  }

  answerAll(): void {
    for (const answer of this.waiting.splice(0)) answer(1);
  }

  lose(): void {
    this.#lost.abort(fail('SYN-P009', 'gone'));
  }

  async end(): Promise<void> {
    this.ended = true;
  }
}

function standing(options: Partial<StandingOptions> = {}) {
  const clients: FakeClient[] = [];
  let refuse = false;
  const connection = new StandingConnection('postgres://x', { applicationName: 'test', ...options }, async () => {
    if (refuse) throw fail('SYN-P009', 'refused');
    const client = new FakeClient();
    clients.push(client);
    return client as unknown as PostgresClient;
  });
  const newest = (): FakeClient => {
    const client = clients.at(-1);
    assert.ok(client !== undefined);
    return client;
  };
  return { connection, clients, newest, refuse: (value: boolean) => (refuse = value) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a standing connection', () => {
  test('is made by the first statement and shared by all', async () => {
    const { connection, clients, newest } = standing();
    assert.equal(clients.length, 0);
    const answers = [connection.query('select 1'), connection.query('select 2')];
    await turn();
    assert.equal(clients.length, 1);
    newest().answerAll();
    await Promise.all(answers);
  });

  test('is made again once after a loss, and after a refusal', async () => {
    const { connection, clients, newest, refuse } = standing();
    const first = connection.query('select 1');
    await turn();
    newest().answerAll();
    await first;
    newest().lose();
    refuse(true);
    await assert.rejects(connection.query('select 1'), { code: 'SYN-P009' });
    refuse(false);
    const answers = [connection.query('select 1'), connection.query('select 1')];
    await turn();
    assert.equal(clients.length, 2);
    newest().answerAll();
    await Promise.all(answers);
  });

  test('turns callers away when too many wait', async () => {
    const { connection, newest } = standing({ pendingMax: 2 });
    const answers = [connection.query('select 1'), connection.query('select 2')];
    await assert.rejects(connection.query('select 3'), { code: 'SYN-T009' });
    await turn();
    newest().answerAll();
    await Promise.all(answers);
  });

  test('is closed after a rest, and for good at its end', async (context) => {
    context.after(() => mock.timers.reset());
    mock.timers.enable({ apis: ['setTimeout'] });
    const { connection, clients, newest } = standing({ idleMs: 1_000 });
    const first = connection.query('select 1');
    await turn();
    mock.timers.tick(5_000);
    assert.equal(newest().ended, false, 'a statement is under way');
    newest().answerAll();
    await first;
    mock.timers.tick(1_000);
    await turn();
    assert.equal(newest().ended, true);
    const second = connection.query('select 1');
    await turn();
    assert.equal(clients.length, 2);
    newest().answerAll();
    await second;
    await connection[Symbol.asyncDispose]();
    assert.equal(newest().ended, true);
    await assert.rejects(connection.query('select 1'), { code: 'SYN-P009' });
  });
});
