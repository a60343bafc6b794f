import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BoardView, duration, plain, renderBoard, summarize } from './board.ts';

const board: BoardView = {
  elapsedS: 12,
  regions: [
    { region: 'eu-west', state: 'up', writesPerS: 148.4, writes: 4_812 },
    { region: 'us-east', state: 'down', writesPerS: 0, writes: 2_310 },
  ],
  links: [
    {
      source: 'us-east',
      target: 'eu-west',
      status: 'active',
      lagMs: 0,
      p50Ms: 4.2,
      p99Ms: 12_345,
      eventsPerS: 7,
      events: 5_001,
      conflicts: 45,
      waiting: 0,
    },
    {
      source: 'eu-west',
      target: 'us-east',
      status: 'away',
      lagMs: null,
      p50Ms: null,
      p99Ms: null,
      eventsPerS: null,
      events: 3_000,
      conflicts: 3,
      waiting: null,
    },
  ],
};

describe('the board', () => {
  test('shows regions and links as an aligned table', () => {
    assert.deepEqual(renderBoard(board, plain), [
      '',
      '  region                state      writes/s    writes',
      '  eu-west               up              148     4,812',
      '  us-east               down              0     2,310',
      '',
      '  link                  status          lag   lag p50   lag p99  events/s    events  conflicts',
      '  us-east → eu-west     active         0 ms    4.2 ms    12.3 s         7     5,001         45',
      '  eu-west → us-east     away              -         -         -         -     3,000          3',
      '',
    ]);
  });

  test('what is not as it should be has a colour', () => {
    const painted = renderBoard(board, (style, text) => `<${String(style)}>${text}`);
    assert.deepEqual(
      painted.filter((line) => line.startsWith('<yellow>')).map((line) => line.trim().split(/\s+/)[1]),
      ['us-east', 'eu-west'],
    );
  });

  test('fits into one line of a log', () => {
    assert.equal(
      summarize(board),
      'writes/s: eu-west 148, us-east down; 8,001 events applied; 48 conflicts; largest lag 0 ms',
    );
  });

  test('durations have few digits and their unit', () => {
    const cases: [number | null, string][] = [
      [null, '-'],
      [0, '0 ms'],
      [0.26, '0.3 ms'],
      [42.6, '43 ms'],
      [1_250, '1.3 s'],
      [250_400, '250 s'],
    ];
    for (const [ms, text] of cases) assert.equal(duration(ms), text);
  });
});
