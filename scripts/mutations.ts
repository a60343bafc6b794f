/** The rules that the simulation must miss when they are gone. */

export type Mutation = {
  readonly name: string;
  /** What is left out or turned. */
  readonly rule: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
};

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'slow-path-ignores-tombstones',
    rule: 'an older event does not bring back a deleted row',
    file: 'src/apply/decide.ts',
    find: 'if (tombstone !== undefined && compareVersions(tombstone, event) > 0) return false;',
    replace: '',
  },
  {
    name: 'older-event-wins',
    rule: 'the higher version wins',
    file: 'src/apply/decide.ts',
    find: 'return current === null || compareVersions(event, current.version) > 0;',
    replace: 'return true;',
  },
  {
    name: 'stamps-for-exact-versions',
    rule: "a batch's commit timestamp overstates its rows; decisions go by exact versions",
    file: 'src/apply/decide.ts',
    find: 'if (exact !== undefined) return { hlc: exact.hlc, origin: tuple.writer };',
    replace: 'void exact;',
  },
  {
    name: 'echo-removes-local-rows',
    rule: 'an echo never touches a later local write',
    file: 'src/apply/decide.ts',
    find: 'return current !== null && !current.tuple.local && compareVersions(event, current.version) > 0;',
    replace: 'return current !== null;',
  },
  {
    name: 'echo-guard-admits-local-rows',
    rule: "an echo's statements never admit a local tuple",
    file: 'src/apply/decide.ts',
    find: "[self]: 'never' };",
    replace: '[self]: 1n << 60n };',
  },
  {
    name: 'guard-without-seen',
    rule: 'a statement replaces only what the event had certainly seen',
    file: 'src/apply/decide.ts',
    find: 'guard[member] = hlcMicros(stability.seenBy(member, seen[member]));',
    replace: 'guard[member] = 1n << 60n;',
  },
  {
    name: 'no-echo-of-removals',
    rule: 'a local removal leaves its tombstone when it is echoed',
    file: 'src/apply/echo-writer.ts',
    find: "op.kind === 'remove' ||",
    replace: '',
  },
  {
    name: 'no-second-look',
    rule: 'a removal that found no row looks again',
    file: 'src/apply/batch-writer.ts',
    find: "if (outcome === 'absent') this.#lookAgain(shape, op);",
    replace: '',
  },
  {
    name: 'removal-without-tombstone',
    rule: 'a removal leaves a tombstone',
    file: 'src/apply/batch-writer.ts',
    find: 'record.tombstones.set(key,',
    replace: 'record.rows.size < 0 && record.tombstones.set(key,',
  },
  {
    name: 'no-exact-versions-kept',
    rule: 'exact versions of what a batch wrote are kept',
    file: 'src/apply/batch-writer.ts',
    find: 'if (versions.size > 0) sent.push(',
    replace: 'if (versions.size < 0) sent.push(',
  },
  {
    name: 'first-change-wins-in-batch',
    rule: 'the last change of a row in a batch is its net change',
    file: 'src/apply/net-change.ts',
    find: 'known.kind = kind;',
    replace: '',
  },
  {
    name: 'truncate-is-no-barrier',
    rule: 'a TRUNCATE is a barrier in its batch',
    file: 'src/apply/net-change.ts',
    find: '        rows = null;\n',
    replace: '',
  },
  {
    name: 'key-change-keeps-old-row',
    rule: 'a change of key removes the row with the old key',
    file: 'src/apply/net-change.ts',
    find: 'if (former !== null && keyOf(shape, former) !== keyOf(shape, currentKey(shape, event))) {',
    replace: 'if (former !== null && keyOf(shape, former) === keyOf(shape, currentKey(shape, event))) {',
  },
  {
    name: 'published-is-published-again',
    rule: 'what the stream holds is skipped when the slot sends it again',
    file: 'src/capture/publisher.ts',
    find: 'if (tail === null || lsn > this.#tailLsn) {',
    replace: 'if (tail === null || lsn > 0n) {',
  },
  {
    name: 'zombie-records-count',
    rule: 'records of an older run are void behind a newer one',
    file: 'src/log/record-order.ts',
    find: "if (record.run < this.#run) return 'void';",
    replace: '',
  },
  {
    name: 'ledger-does-not-wait',
    rule: 'no transaction is stamped while a batch below it may be in flight',
    file: 'src/clock/notes-ledger.ts',
    find: 'while (this.#mayBeBelow(lsn)) {',
    replace: 'while (lsn < 0n) {',
  },
  {
    name: 'stamps-below-what-was-applied',
    rule: '(a) a stamp is above all that was noted below the commit',
    file: 'src/clock/stamper.ts',
    find: 'let floor = noted > this.promise ? noted : this.promise;',
    replace: 'let floor = noted < 0n ? noted : this.promise;',
  },
  {
    name: 'stamps-of-a-row-out-of-order',
    rule: '(b) a stamp is above those of earlier changes of the same rows',
    file: 'src/clock/stamper.ts',
    find: 'for (const key of rows.keys) raise(this.#rows.get(key));',
    replace: 'for (const key of rows.keys) if (key === "") raise(this.#rows.get(key));',
  },
  {
    name: 'no-stamps-of-whole-tables',
    rule: '(b) a stamp is above those of earlier changes of whole tables',
    file: 'src/clock/stamper.ts',
    find: 'for (const table of rows.tables) raise(this.#wholeTables.get(table));',
    replace: '',
  },
  {
    name: 'truncate-stamped-below-rows',
    rule: '(b) a change of a whole table is stamped above all before it',
    file: 'src/clock/stamper.ts',
    find: "if (commitMicros === null || wholeTables.length > 0 || rows.kind === 'tables') raise(this.#highest);",
    replace: 'if (commitMicros === null) raise(this.#highest);',
  },
  {
    name: 'clock-steps-back-below-promise',
    rule: '(c) nothing is stamped at or below the promise',
    file: 'src/clock/stamper.ts',
    find: 'let floor = noted > this.promise ? noted : this.promise;',
    replace: 'let floor = noted;',
  },
  {
    name: 'foreign-timestamps-count',
    rule: "(d) another tool's commit timestamp is no stamp",
    file: 'src/capture/publisher.ts',
    find: 'if (!isForeign) {',
    replace: 'if (!isForeign || begin.commitMicros > 0n) {',
  },
  {
    name: 'foreign-tuples-are-believed',
    rule: "(d) another tool's tuple tells nothing until its echo has rewritten it",
    file: 'src/apply/decide.ts',
    find: 'if (tuple.foreign) return VERSION_ZERO;',
    replace: '',
  },
  {
    name: 'pushed-rows-are-not-rewritten',
    rule: 'the echo of a pushed write puts its tuple right',
    file: 'src/apply/decide.ts',
    find: 'return hlc !== hlcFromMicros(commitMicros);',
    replace: 'return hlc < hlcFromMicros(commitMicros);',
  },
  {
    name: 'echo-takes-whatever-shares-its-time',
    rule: 'an echo does not undo a later write that has the same commit timestamp',
    file: 'src/apply/decide.ts',
    find: '&& haveSameValues(tuple.image, write.image);',
    replace: ';',
  },
  {
    name: 'second-look-takes-foreign-rows',
    rule: 'a second look leaves what another tool wrote later',
    file: 'src/apply/look-again.ts',
    find: 'if (current === undefined || current.tuple.foreign) continue;',
    replace: 'if (current === undefined) continue;',
  },
  {
    name: 'watermark-of-the-fastest',
    rule: 'stable is what all members have applied, not what one has',
    file: 'src/clock/stability.ts',
    find: 'if (watermark === null || floor < watermark) watermark = floor;',
    replace: 'if (watermark === null || floor > watermark) watermark = floor;',
  },
];
