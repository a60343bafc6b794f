/**
 * Puts records together that Kafka holds in parts, and gives all records out in the order of their offsets. A record stands
 * where its first part stands; what lies between its parts, a zombie's records, is behind it and waits for it.
 *
 * A writer that dies amid the parts leaves a record that never ends. It is known for one as soon as its run goes on with
 * anything else, or a later run begins, since a writer's records keep their order and a later run voids the earlier ones. So nothing
 * waits for it for longer than until the next record of the stream that counts. Parts whose beginning was not seen
 * belong to a record before the place from which the stream is read.
 */
import type { StoredRecord } from '../event-log.ts';
import type { StoredPart } from './kafka-record.ts';

type Open = {
  readonly record: StoredPart['record'];
  readonly split: string;
  readonly parts: number;
  readonly values: Buffer[];
};

type Slot = { readonly offset: number; readonly run: number; done: StoredRecord | null; open: Open | null };

export class PartAssembler {
  #slots: Slot[] = [];
  #ready: StoredRecord[] = [];

  /** Offset of the first record that is not complete; null where all are. */
  get openAt(): number | null {
    return this.#slots[0]?.offset ?? null;
  }

  take(stored: StoredPart): void {
    const { record, value, part, parts, split } = stored;
    if (this.#slots.length > 0) this.#abandon(record.run, split);
    if (parts === 1) {
      const done = { ...record, value: value.toString() };
      if (this.#slots.length === 0) this.#ready.push(done);
      else this.#slots.push({ offset: record.offset, run: record.run, done, open: null });
    } else if (part === 0) {
      const open = { record, split, parts, values: [value] };
      this.#slots.push({ offset: record.offset, run: record.run, done: null, open });
    } else this.#continue(split, part, value);
    this.#release();
  }

  /** The records that are complete, and behind none that is not; each is given out once. */
  drain(): StoredRecord[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  #continue(split: string, part: number, value: Buffer): void {
    const slot = this.#slots.find(({ open }) => open?.split === split);
    if (slot?.open == null || slot.open.values.length !== part) return;
    const { record, parts, values } = slot.open;
    values.push(value);
    if (values.length < parts) return;
    slot.done = { ...record, value: Buffer.concat(values).toString() };
    slot.open = null;
  }

  /** What an earlier run, or the same one before this record, left unfinished never goes on. */
  #abandon(run: number, split: string): void {
    this.#slots = this.#slots.filter(({ open }) => open === null || open.split === split || open.record.run > run);
  }

  #release(): void {
    while (this.#slots[0]?.done != null) {
      this.#ready.push(this.#slots[0].done);
      this.#slots.shift();
    }
  }
}
