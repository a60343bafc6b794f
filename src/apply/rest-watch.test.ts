import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hlcFromMicros } from '../change/hlc.ts';
import { type Kept, type Rest, type RestView, RestWatch } from './rest-watch.ts';

const NOTHING: Kept = {
  parked: 0,
  quarantined: 0,
  looks: 0,
  versions: 0,
  tombstones: 0,
  merges: 0,
  transfers: 0,
};
const NOW = 5_000_000n;
const VIEW: RestView = {
  moment: { micros: NOW, snapshot: '10:10:', lsn: 100n, open: 0 },
  highest: hlcFromMicros(NOW - 1_000_000n),
  stable: hlcFromMicros(NOW),
  echoedLsn: 100n,
  changes: 7,
  kept: NOTHING,
};

/** What is told second, if the first moment is that of `VIEW`. */
function second(view: Partial<RestView>, first: Partial<RestView> = {}): Rest {
  const watch = new RestWatch();
  assert.equal(watch.look({ ...VIEW, ...first }).kind, 'unrest');
  return watch.look({ ...VIEW, ...first, ...view });
}

describe('rest', () => {
  test('is there once all before it has come back, is stable, and nothing is kept', () => {
    const later = { micros: NOW + 1n, snapshot: '12:12:', lsn: 120n, open: 0 };
    assert.deepEqual(second({ moment: later }), { kind: 'rest', snapshot: '10:10:' });
  });

  test('begins anew with every write that is applied', () => {
    assert.deepEqual(second({ changes: 8 }), { kind: 'unrest', waits: ['written'] });
  });

  const highest = hlcFromMicros(NOW + 10n);
  for (const [what, view, waits, first] of [
    ['what was committed before has not come back', { echoedLsn: 99n }, ['unpublished'], {}],
    ['not all have applied what was stamped by the clock', { stable: hlcFromMicros(NOW) - 1n }, ['unstable'], {}],
    ['not all have applied what was stamped ahead of it', { highest }, ['unstable'], { highest }],
    ['a transaction is open', { moment: { ...VIEW.moment, open: 1 } }, ['open'], {}],
    // A moment begins with the second look, and needs another one.
    ['one was open when it began', { moment: VIEW.moment }, ['unstable'], { moment: { ...VIEW.moment, open: 1 } }],
    ['something was kept when it began', { kept: NOTHING }, ['unstable'], { kept: { ...NOTHING, merges: 1 } }],
    ...Object.keys(NOTHING).map(
      (name) => [`${name} are kept`, { kept: { ...NOTHING, [name]: 1 } }, [name], {}] as const,
    ),
  ] as const) {
    test(`is not there while ${what}`, () => {
      assert.deepEqual(second(view, first), { kind: 'unrest', waits });
    });
  }
});
