import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { longGiant, positionOf, transaction } from '../../../test/support/stream-records.ts';
import { makePosition, type Position, positionEpoch } from '../../change/position.ts';
import type { CommitTime } from '../../clock/sql-own-history.ts';
import { MemoryLog } from '../../log/memory-log.ts';
import { decideStart, type OwnTrace, type StartFacts, type TraceOptions, traceOwnStream } from './own-stream.ts';

const epochName = (place: number): string => String(place).padStart(19, '0');
const at = (epoch: number, lsn: number): Position => makePosition(epochName(epoch), BigInt(lsn));

const whole: OwnTrace = {
  end: at(1, 9),
  fork: at(1, 9),
  published: published(at(1, 9)),
  lineage: [at(1, 9)],
  isWhole: true,
  times: [],
};
const broken: OwnTrace = {
  ...whole,
  fork: at(1, 5),
  published: published(at(1, 5)),
  lineage: [at(1, 5)],
  isWhole: false,
};
const facts: StartFacts = {
  history: { epoch: epochName(1), lineage: [], fork: null, after: null },
  trace: whole,
  runOfDatabase: 3,
  runOfStream: 3,
  isSlotNew: false,
  now: epochName(1_000),
};

function published(position: Position): OwnTrace['published'] {
  return { position, xid: 1, committed_at: '' };
}

describe('a start', () => {
  test('goes on in its epoch where the database has made all of the stream', () => {
    assert.deepEqual(decideStart(facts), { kind: 'continue' });
    assert.deepEqual(decideStart({ ...facts, runOfDatabase: 4 }), { kind: 'continue' });
  });

  test('opens an epoch at the first difference', () => {
    assert.deepEqual(decideStart({ ...facts, trace: broken }), {
      kind: 'open',
      why: 'restored',
      history: { epoch: epochName(1_000), lineage: [at(1, 5)], fork: at(1, 5), after: at(1, 9) },
    });
  });

  test('opens an epoch where the database has handed out fewer runs than the stream names, whatever it looks like', () => {
    const decision = decideStart({ ...facts, runOfDatabase: 2 });
    assert.ok(decision.kind === 'open' && decision.why === 'restored' && decision.history.fork === at(1, 9));
  });

  test('opens an epoch where the slot had to be made anew', () => {
    const decision = decideStart({ ...facts, isSlotNew: true });
    assert.ok(decision.kind === 'open' && decision.why === 'slot-lost');
  });

  test('never names an epoch at or below one that is there, be the clock ever so late', () => {
    for (const now of [0, 1, 6, 7].map(epochName)) {
      const decision = decideStart({ ...facts, now, trace: { ...broken, end: at(7, 1) } });
      assert.ok(decision.kind === 'open');
      assert.equal(decision.history.epoch, epochName(8));
    }
  });
});

const COMMITTED = 1_767_225_600_000_000n;

/** A stream of transactions at these positions; the database has those that `times` speaks of. */
async function trace(lsns: readonly number[], times: (xid: number) => CommitTime, more: Partial<TraceOptions> = {}) {
  const log = new MemoryLog();
  const writer = await log.writer('eu');
  for (const lsn of lsns) await writer.append(transaction(1, lsn));
  const epoch = positionEpoch(positionOf(1));
  return await traceOwnStream(await log.reader('eu'), {
    history: { epoch, lineage: [], fork: null, after: null },
    mark: null,
    commitTimes: async (xids) => xids.map(times),
    trustsForgotten: true,
    ...more,
  });
}

describe('the trace of the own stream', () => {
  test('ends the own part before the first transaction that the database lacks', async () => {
    let asked = 0;
    const found = await trace([1, 2, 3, 4], () => {
      asked += 1;
      return asked === 3 ? COMMITTED + 1n : COMMITTED;
    });
    assert.equal(asked, 4);
    assert.equal(found.fork, positionOf(2));
    assert.equal(found.published?.position, positionOf(2));
    assert.equal(found.end, positionOf(4));
    assert.equal(found.isWhole, false);
  });

  test('goes on behind a giant that is read in several goes', async () => {
    const log = new MemoryLog();
    await (await log.writer('eu')).append([...transaction(1, 1), ...longGiant(1, 2), ...transaction(1, 3)]);
    const found = await traceOwnStream(await log.reader('eu'), {
      history: { epoch: positionEpoch(positionOf(1)), lineage: [], fork: null, after: null },
      mark: null,
      commitTimes: async (xids) => xids.map((xid) => (xid === 1 ? COMMITTED : 'never')),
      trustsForgotten: true,
    });
    assert.deepEqual([found.isWhole, found.fork, found.end], [false, positionOf(1), positionOf(3)]);
  });

  test('is whole where the database has everything', async () => {
    const found = await trace([1, 2, 3], () => COMMITTED);
    assert.deepEqual([found.isWhole, found.fork, found.end], [true, positionOf(3), positionOf(3)]);
  });

  test('takes a transaction that is too old to tell for its own only where nothing speaks against it', async () => {
    assert.equal((await trace([1, 2], () => 'forgotten')).isWhole, true);
    assert.equal((await trace([1, 2], () => 'forgotten', { trustsForgotten: false })).isWhole, false);
    assert.equal((await trace([1, 2], () => 'never')).fork, null);
  });

  test('begins at the mark, up to which the database has everything', async () => {
    const mark = { position: positionOf(2), event_id: 'event 2.0', log_offset: 2 };
    const found = await trace([1, 2, 3], () => 'never', { mark });
    assert.deepEqual([found.fork, found.published?.position, found.end], [positionOf(2), positionOf(2), positionOf(3)]);
  });

  test('knows what an earlier start found to be foreign', async () => {
    const epoch = String(BigInt(positionEpoch(positionOf(1))) + 1n).padStart(19, '0');
    const history = { epoch, lineage: [positionOf(1)], fork: positionOf(1), after: positionOf(3) };
    const found = await trace([1, 2, 3], () => 'never', { history });
    assert.deepEqual([found.isWhole, found.fork, found.end], [true, positionOf(1), positionOf(3)]);
    assert.equal((await trace([1, 2, 3, 4], () => 'never', { history })).isWhole, false);
  });

  test('finds what was committed before the copy was made, and published in an epoch that the copy does not know', async () => {
    const history = { epoch: epochName(1), lineage: [], fork: null, after: null };
    let asked = 0;
    const found = await trace(
      [1, 2, 3],
      () => {
        asked += 1;
        return asked < 3 ? COMMITTED : 'never';
      },
      { history },
    );
    assert.deepEqual([found.isWhole, found.lineage, found.fork], [false, [positionOf(2)], positionOf(2)]);
    assert.equal(found.published?.position, positionOf(2));
  });
});
