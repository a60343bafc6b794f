import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LogRecord } from '../../change/stream-record.ts';
import { GroupCommit } from './group-commit.ts';

const RECORD: LogRecord = { kind: 'heartbeat', run: 1, position: null, index: 0, last: true, value: '{}' };

type Deferred = { readonly start: () => void; readonly isUrgent: boolean };

/** A transaction of one record. */
function seal(commits: GroupCommit, endLsn: bigint): void {
  commits.add(RECORD);
  commits.seal(endLsn);
}

/** With a log that holds each append until it is told to go on. */
function group(): {
  readonly commits: GroupCommit;
  readonly deferred: Deferred[];
  readonly durable: bigint[];
  readonly appends: { readonly count: number; readonly done: () => void; readonly refuse: (error: Error) => void }[];
} {
  const deferred: Deferred[] = [];
  const durable: bigint[] = [];
  const appends: { count: number; done: () => void; refuse: (error: Error) => void }[] = [];
  const commits = new GroupCommit({
    writer: {
      append: async (records) => {
        const { promise, resolve, reject } = Promise.withResolvers<number>();
        appends.push({ count: records.length, done: () => resolve(0), refuse: reject });
        return await promise;
      },
    },
    onDurable: (endLsn) => durable.push(endLsn),
    rowsMax: 3,
    bytesMax: 1_000,
    defer: (start, isUrgent) => deferred.push({ start, isUrgent }),
  });
  return { commits, deferred, durable, appends };
}

describe('group commit', () => {
  test('what is sealed until an append starts goes in it, and one start is asked for', async () => {
    const { commits, deferred, durable, appends } = group();
    for (const endLsn of [1n, 2n]) seal(commits, endLsn);
    assert.deepEqual(
      deferred.map(({ isUrgent }) => isUrgent),
      [false],
    );
    deferred[0]?.start();
    assert.equal(appends[0]?.count, 2);
    assert.deepEqual(durable, []);
    appends[0]?.done();
    await nextTurn();
    assert.deepEqual(durable, [2n]);
  });

  test('where there is as much as an append takes, an urgent start supersedes one that waits for company', async () => {
    const { commits, deferred, appends } = group();
    seal(commits, 1n);
    commits.add(RECORD);
    commits.add(RECORD);
    assert.deepEqual(
      deferred.map(({ isUrgent }) => isUrgent),
      [false, true],
    );
    assert.notEqual(commits.space(), undefined);
    deferred[1]?.start();
    deferred[0]?.start();
    assert.deepEqual(
      appends.map(({ count }) => count),
      [3],
    );
    assert.equal(commits.space(), undefined);
    appends[0]?.done();
    await nextTurn();
  });

  test('who waits until all is durable makes it urgent, also behind an append that is in flight', async () => {
    const { commits, deferred, durable, appends } = group();
    seal(commits, 1n);
    deferred[0]?.start();
    seal(commits, 2n);
    const idle = commits.durable();
    appends[0]?.done();
    await nextTurn();
    assert.deepEqual(
      deferred.map(({ isUrgent }) => isUrgent),
      [false, true],
    );
    deferred[1]?.start();
    appends[1]?.done();
    await idle;
    assert.deepEqual(durable, [1n, 2n]);
  });

  test('a refused append ends it, and nothing behind the gap is appended', async () => {
    const { commits, deferred, durable, appends } = group();
    seal(commits, 1n);
    deferred[0]?.start();
    seal(commits, 2n);
    const refused = new Error('no room');
    appends[0]?.refuse(refused);
    await nextTurn();
    assert.equal(commits.failed.reason, refused);
    assert.throws(() => commits.add(RECORD), refused);
    await assert.rejects(commits.durable(), refused);
    for (const { start } of deferred) start();
    assert.equal(appends.length, 1);
    assert.deepEqual(durable, []);
  });
});
