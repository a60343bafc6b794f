import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { StoredRecord } from '../event-log.ts';
import type { StoredPart } from './kafka-record.ts';
import { PartAssembler } from './part-assembler.ts';

/** A writer's records: how many parts each has, and in how many pieces of the stream it may be cut off. */
type Script = { readonly run: number; readonly parts: readonly number[] };

const part = (offset: number, run: number, split: string, place: number, parts: number): StoredPart => ({
  record: { kind: 'change', run, position: null, index: 0, last: true, offset },
  value: Buffer.from(`${split}/${place} `),
  part: place,
  parts,
  split,
});

const joinedValue = (split: string, parts: number): string =>
  Array.from({ length: parts }, (_, place) => `${split}/${place} `).join('');

/** All Kafka records of a writer, in its order. */
function written({ run, parts }: Script): Omit<StoredPart, 'record'>[] {
  return parts.flatMap((count, number) =>
    Array.from({ length: count }, (_, place) => part(0, run, `${run}.${number}`, place, count)),
  );
}

/** A schedule that interleaves two writers and cuts both off somewhere. */
const schedules = fc.record({
  older: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 6 }),
  newer: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 6 }),
  choices: fc.array(fc.boolean(), { maxLength: 50 }),
  from: fc.nat({ max: 20 }),
});

describe('records in parts', () => {
  test('come whole and in the order in which they began, whatever lies between and wherever a writer dies', () => {
    fc.assert(
      fc.property(schedules, ({ older, newer, choices, from }) => {
        const queues = [written({ run: 1, parts: older }), written({ run: 2, parts: newer })];
        const stream: StoredPart[] = [];
        for (const choice of choices) {
          const next = queues[choice ? 1 : 0]?.shift();
          if (next === undefined) continue;
          const run = choice ? 2 : 1;
          stream.push(part(stream.length, run, next.split, next.part, next.parts));
        }
        const whole = stream.filter(
          ({ part: place, parts, split }) =>
            place === 0 && stream.filter((each) => each.split === split).length === parts,
        );
        // The older run's are void once the newer one began, and need not come.
        const newerBegan = stream.findIndex(({ record }) => record.run === 2);
        const ends = (split: string): number => stream.findLastIndex((each) => each.split === split);
        const isDue = ({ record, split }: StoredPart): boolean =>
          record.offset >= from && (record.run === 2 || newerBegan < 0 || ends(split) < newerBegan);

        const assembler = new PartAssembler();
        const given: StoredRecord[] = [];
        for (const each of stream.slice(from)) {
          assembler.take(each);
          given.push(...assembler.drain());
        }
        const offsets = given.map(({ offset }) => offset);
        assert.deepEqual(
          offsets,
          [...offsets].sort((a, b) => a - b),
        );
        for (const { offset, value } of given) {
          const first = stream[offset];
          assert.ok(first !== undefined && first.part === 0);
          assert.equal(value, joinedValue(first.split, first.parts));
        }
        // What is due is there, unless it waits for the end of one that may still go on.
        const openAt = assembler.openAt ?? Number.POSITIVE_INFINITY;
        for (const due of whole.filter(isDue)) {
          assert.ok(offsets.includes(due.record.offset) || due.record.offset >= openAt, `offset ${due.record.offset}`);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('whose writer died are given up with the next record of that run or a later one', () => {
    for (const next of [1, 2]) {
      const assembler = new PartAssembler();
      assembler.take(part(0, 1, 'a', 0, 3));
      assembler.take(part(1, 1, 'a', 1, 3));
      assert.deepEqual(assembler.drain(), []);
      assert.equal(assembler.openAt, 0);
      assembler.take(part(2, next, 'b', 0, 1));
      assert.deepEqual(
        assembler.drain().map(({ offset }) => offset),
        [2],
      );
      assert.equal(assembler.openAt, null);
    }
  });
});
