import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { LinkFaults } from './link-faults.ts';

const AWAY = new Error('the log is away');
const GAP = new Error('a gap');

let told: unknown[] = [];
let faults = new LinkFaults(() => {});
const shown = (): unknown => told.at(-1) ?? null;
beforeEach(() => {
  told = [];
  faults = new LinkFaults((_origin, error) => told.push(error));
});

describe('the fault of a link', () => {
  test('that its acknowledgements have is over with the next one that succeeds', () => {
    faults.acknowledgement('eu', AWAY);
    assert.equal(shown(), AWAY);
    faults.acknowledgement('eu', null);
    assert.equal(shown(), null);
    faults.acknowledgement('eu', null);
    assert.equal(told.length, 2, 'and is told of once');
  });

  test('that the lane tells of is not hidden by acknowledgements, and does not end with them', () => {
    faults.lane('eu', GAP);
    faults.acknowledgement('eu', AWAY);
    assert.equal(shown(), GAP);
    faults.acknowledgement('eu', null);
    assert.equal(shown(), GAP);
    assert.equal(faults.isStanding('eu'), true);
    faults.lane('eu', null);
    assert.equal(shown(), null);
    assert.equal(faults.isStanding('eu'), false);
  });

  test('gives way to that of acknowledgements, where those still fail', () => {
    faults.lane('eu', GAP);
    faults.acknowledgement('eu', AWAY);
    faults.lane('eu', null);
    assert.equal(shown(), AWAY);
  });

  test('is none of another link', () => {
    const links: string[] = [];
    faults = new LinkFaults((origin) => links.push(origin));
    faults.lane('eu', GAP);
    faults.acknowledgement('us', null);
    faults.acknowledgement('us', AWAY);
    assert.deepEqual(links, ['eu', 'us']);
    assert.equal(faults.isStanding('us'), false);
  });
});
