import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BoardView, plain } from './board.ts';
import { Screen } from './screen.ts';

function fakeStream(isTTY: boolean, columns = 100) {
  const written: string[] = [];
  const stream = { isTTY, columns, write: (text: string) => written.push(text) > 0 };
  return { written, stream: stream as unknown as NodeJS.WriteStream };
}

const boardAt = (elapsedS: number): BoardView => ({
  elapsedS,
  regions: [{ region: 'eu-west', state: 'up', writesPerS: 1, writes: elapsedS }],
  links: [],
});

const UP = /^\[(\d+)A$/;

/** What a terminal shows after these writes; of sequences it knows those for going up and for erasing below. */
function shown(written: readonly string[]): string[] {
  let lines = [''];
  const [start = '', ...sequences] = written.join('').split('\x1b');
  const print = (text: string): void => {
    const [first = '', ...rest] = text.split('\n');
    lines = [...lines.slice(0, -1), `${lines.at(-1)}${first}`, ...rest];
  };
  print(start);
  for (const sequence of sequences) {
    const up = UP.exec(sequence);
    if (up !== null) lines = [...lines.slice(0, lines.length - 1 - Number(up[1])), ''];
    else if (sequence.startsWith('[J')) print(sequence.slice(2));
    else throw new Error(`unknown sequence ${sequence.slice(0, 5)}`);
  }
  return lines;
}

describe('the screen', () => {
  test('on a terminal the table stays below the story and is redrawn in place', () => {
    const { stream, written } = fakeStream(true);
    const screen = new Screen(stream, plain);
    screen.say('first');
    screen.show(boardAt(1));
    screen.show(boardAt(2));
    screen.say('second');
    screen.show(boardAt(3));
    screen.finish();
    screen.say('last');
    const lines = shown(written).filter((line) => line !== '');
    assert.deepEqual(lines.slice(0, 2), ['first', 'second']);
    assert.match(lines[3] ?? '', /eu-west +up +1 +3$/);
    assert.equal(lines.at(-1), 'last');
    assert.equal(lines.filter((line) => line.includes('eu-west')).length, 1);
  });

  test('a narrow terminal cuts lines, so that none wraps', () => {
    const { stream, written } = fakeStream(true, 40);
    new Screen(stream, plain).show(boardAt(1));
    assert.ok(shown(written).every((line) => line.length < 40));
  });

  test('elsewhere the table is a line now and then, and whole at the end', () => {
    const { stream, written } = fakeStream(false);
    const screen = new Screen(stream, plain);
    for (let elapsedS = 0; elapsedS <= 11; elapsedS += 1) screen.show(boardAt(elapsedS));
    assert.equal(written.length, 3);
    screen.finish();
    assert.equal(written.length, 4);
    assert.ok(!written.join('').includes('\x1b'));
  });
});
