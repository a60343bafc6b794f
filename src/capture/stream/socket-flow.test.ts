import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { SocketFlow } from './socket-flow.ts';

describe('socket flow', () => {
  let nowMs: number;
  let socket: PassThrough;
  let flow: SocketFlow;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    nowMs = 1000;
    socket = new PassThrough().resume();
    flow = new SocketFlow(socket, () => nowMs);
  });

  afterEach(() => mock.timers.reset());

  function burst(): void {
    for (let chunk = 0; chunk < 32; chunk += 1) flow.arrived(500);
  }

  test('a few small chunks are read as they come', () => {
    for (let chunk = 0; chunk < 31; chunk += 1) flow.arrived(500);
    assert.equal(socket.isPaused(), false);
  });

  test('small chunks with gaps between them are read as they come', () => {
    for (let chunk = 0; chunk < 1000; chunk += 1) {
      nowMs += 5;
      flow.arrived(500);
      assert.equal(socket.isPaused(), false);
    }
  });

  test('in a burst the socket rests after each read, and a small chunk ends the burst', () => {
    burst();
    assert.equal(socket.isPaused(), true);
    mock.timers.tick(1);
    assert.equal(socket.isPaused(), false);
    nowMs += 1;
    flow.arrived(20_000);
    assert.equal(socket.isPaused(), true);
    mock.timers.tick(1);
    nowMs += 1;
    flow.arrived(100);
    assert.equal(socket.isPaused(), false);
  });

  test('a full read is followed by the next at once', () => {
    burst();
    mock.timers.tick(1);
    flow.arrived(64 * 1024);
    assert.equal(socket.isPaused(), false);
  });

  test('a rest does not release a socket that is held, nor the other way round', () => {
    burst();
    flow.hold();
    mock.timers.tick(1);
    assert.equal(socket.isPaused(), true);
    flow.release();
    assert.equal(socket.isPaused(), false);

    nowMs += 10;
    burst();
    flow.hold();
    flow.release();
    assert.equal(socket.isPaused(), true);
    mock.timers.tick(1);
    assert.equal(socket.isPaused(), false);
  });

  test('once closed it leaves the socket flowing', () => {
    burst();
    flow.hold();
    flow.close();
    assert.equal(socket.isPaused(), false);
    assert.equal(flow.isHeld, false);
  });
});
