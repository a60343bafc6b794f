// What the viewer sees: a story, told line by line, and below it on a terminal the live table, redrawn
// in place. Elsewhere the table is one line now and then, so that a log stays readable.

import { type BoardView, type Paint, painterFor, plain, renderBoard, summarize } from './board.ts';

const SUMMARY_EVERY_S = 5;
const COLUMNS_MIN = 40;
const ESCAPE = '\x1b';
// Only the colours of board.ts; they take no place on the screen.
const COLOUR = new RegExp(`${ESCAPE}\\[\\d+m`, 'g');

export class Screen {
  readonly paint: Paint;
  readonly #stream: NodeJS.WriteStream;
  readonly #isLive: boolean;
  #drawnLines = 0;
  #board: BoardView | undefined;
  #nextSummaryS = 0;

  constructor(stream: NodeJS.WriteStream, paint: Paint = stream.isTTY ? painterFor(stream) : plain) {
    this.#stream = stream;
    this.#isLive = stream.isTTY === true;
    this.paint = paint;
  }

  /** One sentence of the story; stays. */
  say(text: string): void {
    const erased = this.#erase();
    this.#stream.write(`${erased}${text}\n`);
    if (this.#board !== undefined && this.#isLive) this.#draw(this.#board);
  }

  show(board: BoardView): void {
    this.#board = board;
    if (this.#isLive) this.#draw(board);
    else if (board.elapsedS >= this.#nextSummaryS) {
      this.#nextSummaryS = board.elapsedS + SUMMARY_EVERY_S;
      this.#stream.write(`  ${Math.round(board.elapsedS)} s  ${summarize(board)}\n`);
    }
  }

  /** Leaves the last table standing, on a log too. */
  finish(): void {
    if (this.#board === undefined) return;
    if (!this.#isLive) this.#stream.write(`${renderBoard(this.#board, plain).join('\n')}\n`);
    this.#board = undefined;
    this.#drawnLines = 0;
  }

  #draw(board: BoardView): void {
    const width = Math.max(this.#stream.columns ?? 80, COLUMNS_MIN);
    const lines = renderBoard(board, this.paint).map((line) => clip(line, width));
    this.#stream.write(`${this.#erase()}${lines.join('\n')}\n`);
    this.#drawnLines = lines.length;
  }

  /** To the beginning of the table, and away with it. */
  #erase(): string {
    const lines = this.#drawnLines;
    this.#drawnLines = 0;
    return lines === 0 ? '' : `${ESCAPE}[${lines}A${ESCAPE}[J`;
  }
}

/** A line that wraps would be two, and the next redraw would miss one. */
function clip(line: string, width: number): string {
  const bare = line.replace(COLOUR, '');
  return bare.length < width ? line : bare.slice(0, width - 1);
}
