import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { StandbyStatus } from './standby-status.ts';

const SPACING_MS = 50;

describe('standby status', () => {
  let nowMs: number;
  let sent: Buffer[];
  let status: StandbyStatus;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    nowMs = 1000;
    sent = [];
    const socket = new Writable({
      write(chunk: Buffer, _encoding, done) {
        sent.push(chunk);
        done();
      },
    });
    status = new StandbyStatus(socket, SPACING_MS, () => nowMs);
  });

  afterEach(() => mock.timers.reset());

  function passMs(ms: number): void {
    nowMs += ms;
    mock.timers.tick(ms);
  }

  test('an update is one CopyData frame with one position in three places', () => {
    status.confirm(0x16_b374_d848n);
    status.send({ replyRequested: true });
    const [frame] = sent;
    assert.ok(frame);
    assert.equal(frame.toString('latin1', 0, 1), 'd');
    assert.equal(frame.readUInt32BE(1), frame.length - 1);
    assert.equal(frame.toString('latin1', 5, 6), 'r');
    for (const at of [6, 14, 22]) assert.equal(frame.readBigUInt64BE(at), 0x16_b374_d848n);
    assert.equal(frame[38], 1);
  });

  test('before anything is confirmed the position is unknown', () => {
    status.send();
    assert.equal(sent[0]?.readBigUInt64BE(14), 0n);
    assert.equal(sent[0]?.[38], 0);
  });

  test('the position never moves back', () => {
    status.confirm(20n);
    status.confirm(10n);
    assert.equal(status.confirmedLsn, 20n);
  });

  test('a request is answered at once, and the next ones at a measured pace', () => {
    status.answer();
    assert.equal(sent.length, 1);
    status.answer();
    status.answer();
    assert.equal(sent.length, 1);
    passMs(SPACING_MS);
    assert.equal(sent.length, 2);
    passMs(SPACING_MS);
    assert.equal(sent.length, 2);
    status.answer();
    assert.equal(sent.length, 3);
  });

  test('an update that is sent anyway takes the place of the one that is due', () => {
    status.confirm(10n);
    status.send();
    passMs(SPACING_MS);
    assert.equal(sent.length, 1);
  });

  test('a socket that takes nothing gets no pile of updates', () => {
    const stuck = new Writable({ write: () => undefined });
    const unheard = new StandbyStatus(stuck, SPACING_MS, () => nowMs);
    for (let update = 0; update < 10_000; update += 1) unheard.send();
    assert.ok(stuck.writableLength < 100 * 39, `${stuck.writableLength} bytes wait`);
  });
});
