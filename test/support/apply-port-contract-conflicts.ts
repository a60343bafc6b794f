// Contract of the apply port, part 6: the conflict log, from provisional records to final ones.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConflictEntry } from '../../src/apply/apply-port.ts';
import { applying, idOf, PAST, PAST_HLC, pkOf, trying, withHarness } from './apply-port-fixtures.ts';
import type { ApplyPortHarness, MakeHarness } from './apply-port-harness.ts';

function conflict(n: number, winnerHlc: bigint, winnerId: string): ConflictEntry {
  return {
    conflict_id: idOf(n),
    event_id_a: idOf(n + 1),
    event_id_b: winnerId,
    schema_name: 'public',
    table_name: 'kv',
    row_pk: pkOf(1),
    resolution_strategy: 'lww',
    merge_version: null,
    winner_event_id: winnerId,
    loser: { hlc: PAST_HLC, origin: 'r1' },
    winner: { hlc: winnerHlc, origin: 'r2' },
    image_a: { id: '1', v: null },
    image_b: { id: '1', v: 'it\'s "b"\\' },
    base_image: null,
    result_image: { id: '1', v: 'it\'s "b"\\' },
    provisional: true,
    provisional_reason: null,
  };
}

/** The log holds these records, in whichever order. */
async function assertLogged(h: ApplyPortHarness, ...expected: ConflictEntry[]): Promise<void> {
  const byId = (a: ConflictEntry, b: ConflictEntry): number => (a.conflict_id < b.conflict_id ? -1 : 1);
  assert.deepEqual([...(await h.conflicts())].sort(byId), expected.sort(byId));
}

async function record(h: ApplyPortHarness, ...entries: ConflictEntry[]): Promise<void> {
  await applying(h, 'r1', PAST, (t) => t.recordConflicts(entries));
}

export function conflictContract(make: MakeHarness): void {
  test(
    'one record per losing event, and the highest winner stays',
    withHarness(make, async (h) => {
      await applying(h, 'r1', PAST, (t) =>
        t.recordConflicts([conflict(10, 100n, idOf(1)), conflict(20, 100n, idOf(1))]),
      );
      await applying(h, 'r1', PAST, (t) =>
        t.recordConflicts([conflict(10, 101n, idOf(2)), conflict(20, 99n, idOf(3))]),
      );
      await trying(h, 'r1', (t) => t.recordConflicts([conflict(30, 1n, idOf(4))]));
      const unknown = { ...conflict(40, 1n, idOf(5)), event_id_a: null, event_id_b: null, winner_event_id: null };
      await applying(h, 'r1', PAST, (t) => t.recordConflicts([unknown]));
      await assertLogged(h, conflict(10, 101n, idOf(2)), conflict(20, 100n, idOf(1)), unknown);
    }),
  );

  test(
    'a record turns final where it names the same events and is whole; else its id comes back',
    withHarness(make, async (h) => {
      const [one, other, part] = [conflict(10, 100n, idOf(1)), conflict(20, 100n, idOf(1)), conflict(30, 1n, idOf(1))];
      await record(h, one, other, { ...part, image_a: null, provisional_reason: 'images' });
      const wanted = [one, { ...other, event_id_b: idOf(7) }, part, conflict(40, 1n, idOf(1))];
      const left = await h.port.finaliseConflicts(wanted);
      assert.deepEqual(left.sort(), [idOf(20), idOf(30), idOf(40)].sort());
      const unread: ConflictEntry = { ...part, image_a: null, provisional_reason: 'images' };
      await assertLogged(h, { ...one, provisional: false }, other, unread);
      assert.deepEqual(await h.port.finaliseConflicts([{ ...one, event_id_b: idOf(7) }]), []);
    }),
  );

  test(
    'a final record takes the place of a provisional one, and nothing takes its own',
    withHarness(make, async (h) => {
      await record(h, conflict(10, 100n, idOf(1)));
      const settled = { ...conflict(10, 50n, idOf(2)), provisional: false, base_image: { id: '1', v: 'base' } };
      await h.port.putConflicts([settled, { ...conflict(20, 50n, idOf(2)), provisional: false }]);
      await record(h, conflict(10, 200n, idOf(3)));
      await h.port.putConflicts([conflict(10, 200n, idOf(3))]);
      await h.port.settleConflicts({ undecided_from: PAST_HLC + 1n, lost_below: 0n, offsets: {} });
      await assertLogged(h, settled, { ...conflict(20, 50n, idOf(2)), provisional: false });
    }),
  );

  test(
    'what is provisional below the horizon goes, but for what may be lost',
    withHarness(make, async (h) => {
      const losing = (n: number, hlc: bigint): ConflictEntry => ({
        ...conflict(n, 100n, idOf(1)),
        loser: { hlc, origin: 'r1' },
      });
      const forgotten: ConflictEntry = { ...losing(30, 25n), provisional_reason: 'forgotten' };
      await record(h, losing(10, 9n), losing(20, 10n), forgotten, losing(40, 30n));
      await h.port.settleConflicts({ undecided_from: 30n, lost_below: 10n, offsets: { r1: 3 } });
      const lost: ConflictEntry = { ...losing(10, 9n), provisional_reason: 'forgotten' };
      await assertLogged(h, lost, forgotten, losing(40, 30n));
    }),
  );

  test(
    'the horizon is kept, and the newest one counts',
    withHarness(make, async (h) => {
      assert.equal(await h.port.conflictHorizon(), null);
      await h.port.settleConflicts({ undecided_from: 30n, lost_below: 10n, offsets: { r1: 3 } });
      const horizon = { undecided_from: PAST_HLC, lost_below: 0n, offsets: { r1: 5, r2: 9_000_000_000 } };
      await h.port.settleConflicts(horizon);
      assert.deepEqual(await h.port.conflictHorizon(), horizon);
    }),
  );
}
