import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LogOutput } from './log-output.ts';

const noteOfLoss = (lines: number, why: string): string => `lost ${lines} by ${why}\n`;

/** A disk with room for so many bytes. */
class Disk {
  room: number;
  #bytes = Buffer.alloc(0);

  constructor(room: number) {
    this.room = room;
  }

  get text(): string {
    return String(this.#bytes);
  }

  readonly write = (_fd: number, bytes: Buffer): number => {
    const taken = bytes.subarray(0, this.room);
    if (taken.length === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    this.#bytes = Buffer.concat([this.#bytes, taken]);
    this.room -= taken.length;
    return taken.length;
  };
}

test('lines that a full disk does not take are dropped, and their number is told once there is room', () => {
  const disk = new Disk(9);
  const output = new LogOutput({ fd: -1, noteOfLoss, write: disk.write });
  for (const line of ['first\n', 'torn apart\n', 'dropped\n']) output.write(line);
  assert.equal(disk.text, 'first\ntor');
  disk.room = 1_000;
  output.write('second\n');
  output.write('third\n');
  assert.equal(disk.text, 'first\ntor\nlost 2 by ENOSPC\nsecond\nthird\n');
});

test('what tells of lost lines can be lost too, and then the next one tells of all', () => {
  const disk = new Disk(0);
  const output = new LogOutput({ fd: -1, noteOfLoss, write: disk.write });
  output.write('dropped\n');
  disk.room = 5;
  output.write('dropped with the note\n');
  disk.room = 'lost 2 by ENOSPC\n'.length + 1;
  output.write('dropped behind the note\n');
  disk.room = 1_000;
  output.write('written\n');
  assert.equal(disk.text, 'lost \nlost 2 by ENOSPC\nlost 1 by ENOSPC\nwritten\n');
});

test('the device that is always full ends nobody', () => {
  const fd = openSync('/dev/full', 'w');
  try {
    const output = new LogOutput({ fd, noteOfLoss });
    for (let lines = 0; lines < 3; lines += 1) output.write('nowhere\n');
  } finally {
    closeSync(fd);
  }
});

test('a reader that stands still holds its writer up once, and hears how much it missed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-output-'));
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    let tries = 0;
    const write = (to: number, bytes: Buffer): number => {
      tries += 1;
      return writeSync(to, bytes);
    };
    const output = new LogOutput({ fd, noteOfLoss, write });
    // Whole pages, since a pipe takes no more than that once it is nearly full.
    const filler = Buffer.alloc(4096, '.');
    assert.throws(
      () => {
        for (;;) writeSync(fd, filler);
      },
      { code: 'EAGAIN' },
    );
    output.write('dropped\n');
    assert.ok(tries > 1, 'the first line waits for the reader');
    tries = 0;
    for (let lines = 1; lines < 100; lines += 1) output.write('dropped\n');
    assert.equal(tries, 99, 'no other line does');
    const heard = Buffer.alloc(2 ** 20);
    readSync(fd, heard);
    output.write('written\n');
    const length = readSync(fd, heard);
    assert.equal(heard.toString('utf8', 0, length), 'lost 100 by EAGAIN\nwritten\n');
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});
