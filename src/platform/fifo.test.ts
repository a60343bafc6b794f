import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Fifo } from './fifo.ts';

test('what was put in first comes out first, in any order of both', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { freq: 2 }), { maxLength: 400, size: 'max' }), (steps) => {
      const [fifo, list] = [new Fifo<number>(), [] as number[]];
      for (const step of steps) {
        if (step === null) assert.equal(fifo.shift(), list.shift());
        else {
          fifo.push(step);
          list.push(step);
        }
        assert.deepEqual([fifo.size, fifo.first, fifo.at(2)], [list.length, list[0], list[2]]);
      }
    }),
  );
});
