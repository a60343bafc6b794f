/** The row 1 of `ONE_TABLE` as it was applied for another region, for tests that say what matters of it to them. */
import type { Tuple } from '../../src/apply/apply-port.ts';

export function madeTuple(changes: Partial<Tuple> = {}): Tuple {
  return {
    xid: 9,
    stampMicros: 1n,
    writer: 'us',
    local: false,
    foreign: false,
    own: false,
    image: { id: '1', v: 'x' },
    ...changes,
  };
}
