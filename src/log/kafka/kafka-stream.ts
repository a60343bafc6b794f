/**
 * What the readers and the writer of one stream share within a log: its two topics, the index of runs, and how far this
 * process has appended, so that whoever has appended reads it.
 */
import { fail } from '../../platform/errors.ts';
import { KafkaControl } from './kafka-control.ts';
import type { KafkaLink } from './kafka-link.ts';
import { decodePart, type StoredPart } from './kafka-record.ts';
import type { TopicNames } from './kafka-settings.ts';
import type { KafkaSetup, TopicLimits } from './kafka-setup.ts';
import { type Extent, KafkaTopic } from './kafka-topic.ts';
import type { PackedBatch } from './packed-batch.ts';
import { RunIndex } from './run-index.ts';

const SCAN = { maxWaitMs: 0, bytesMax: 4 * 1024 * 1024 };

const PROBE = { maxWaitMs: 0, bytesMax: 1 };
/** Settings of a topic are seldom changed. */
const RETENTION_PERIOD_MS = 300_000;
/** More than are appended while a gap is looked through. */
const UNCOVERED_MAX = 1_000;

type Appended = { readonly base: number; readonly runs: readonly number[] };

export class KafkaStream {
  readonly name: string;
  readonly data: KafkaTopic;
  readonly control: KafkaControl;
  readonly runs = new RunIndex();
  readonly #names: TopicNames;
  readonly #setup: KafkaSetup;
  #appendedTo = 0;
  #newest = -1;
  /** Batches of this process that stand behind records that are not looked through yet. */
  #uncovered: Appended[] = [];
  /** What this process has trimmed lies below. */
  trimmedTo = 0;
  /** How long the data topic keeps a record; null for ever. */
  #retention: { readonly ms: number | null; readonly askedAtMs: number } | null = null;
  #scanning: Promise<void> = Promise.resolve();

  constructor(name: string, names: TopicNames, link: KafkaLink, setup: KafkaSetup) {
    this.name = name;
    this.data = new KafkaTopic(names.data, link);
    this.#names = names;
    this.#setup = setup;
    const control = new KafkaTopic(names.control, link);
    this.control = new KafkaControl(control, link, async () => {
      await setup.ensure(names.control, 'control');
    });
  }

  /** What this process has appended lies below. */
  get appendedTo(): number {
    return this.#appendedTo;
  }

  /** Where the newest record stands that this process has appended whole; -1 where there is none. */
  get newest(): number {
    return this.#newest;
  }

  /**
   * A batch of this process was stored, and with it the last part of the record at `newest`, if of any. What somebody else
   * appended before it is looked through.
   */
  appended(base: number, records: readonly { readonly run: number }[], newest: number | null): void {
    const end = base + records.length;
    this.data.saw(end);
    this.#appendedTo = Math.max(this.#appendedTo, end);
    this.#newest = Math.max(this.#newest, newest ?? -1);
    if (this.#uncovered.length >= UNCOVERED_MAX) this.#uncovered.shift();
    this.#uncovered.push({ base, runs: records.map(({ run }) => run) });
    this.#coverAppended();
    // Where that fails, whoever needs the index tries again.
    if (base > this.runs.coveredTo) this.coverRuns(base).catch(() => undefined);
  }

  /** Makes the topics where there are none, and checks them. */
  async ensure(): Promise<TopicLimits> {
    const limits = await this.#setup.ensure(this.#names.data, 'data');
    await this.#setup.ensure(this.#names.control, 'control');
    this.data.forgetPlace();
    await this.data.place();
    return limits;
  }

  /** Null for a stream that holds nothing. Retention may leave a stream empty whose records are missing then. */
  async extent(): Promise<Extent | null> {
    const extent = await this.data.extent();
    if (extent === null || extent.end === 0) return null;
    if (extent.first < extent.end) return extent;
    const detail = `topic ${this.data.name} holds nothing any more of the ${extent.end} record(s) that were in it`;
    throw fail('SYN-L004', detail, { context: { topic: this.data.name, end: extent.end } });
  }

  /** Makes the index of runs cover all below `to`, by reading what nobody has looked through yet. */
  async coverRuns(to: number): Promise<void> {
    if (to <= this.runs.coveredTo) return;
    const scan = this.#scanning.then(async () => await this.#scan(to));
    this.#scanning = scan.catch(() => undefined);
    await scan;
  }

  async keepRuns(): Promise<void> {
    const first = (await this.data.extent())?.first ?? 0;
    await this.control.keepRuns(this.runs.coverage(first), this.data.id);
  }

  /** A record is dropped with the segment that it is in, once all of that is too old: so this is the least. */
  async keptForMs(from: number, nowMs: number): Promise<number | null> {
    const extent = await this.data.extent();
    if (extent === null) return null;
    if (this.#retention === null || nowMs >= this.#retention.askedAtMs + RETENTION_PERIOD_MS) {
      const { retentionMs } = await this.#setup.check(this.#names.data, 'data');
      this.#retention = { ms: retentionMs, askedAtMs: nowMs };
    }
    const { ms } = this.#retention;
    if (ms === null || from >= extent.end) return ms;
    if (from < extent.first) return 0;
    const [oldest] = (await this.data.fetchBelow(from, PROBE)).batches;
    return oldest === undefined ? 0 : Math.max(0, oldest.maxTimestampMs + ms - nowMs);
  }

  /** The records of a fetched batch from an offset on. */
  *partsOf(batch: PackedBatch, from: number): Generator<StoredPart> {
    for (const record of batch.records()) if (record.offset >= from) yield decodePart(this.data.name, record);
  }

  #coverAppended(): void {
    for (
      let next = this.#uncovered[0];
      next !== undefined && next.base <= this.runs.coveredTo;
      next = this.#uncovered[0]
    ) {
      for (const [place, run] of next.runs.entries()) {
        const offset = next.base + place;
        if (offset >= this.runs.coveredTo) this.runs.extend(offset, run);
      }
      this.#uncovered.shift();
    }
  }

  async #scan(to: number): Promise<void> {
    // Again where a trim was faster: before it, its writer kept what it knew of runs.
    while (to > this.runs.coveredTo && !(await this.#scanBelow(to)));
  }

  /** False where the front went beyond what is looked through. */
  async #scanBelow(to: number): Promise<boolean> {
    await this.data.place();
    // In this order: what is kept by then is of records that are there when the ends are read.
    const kept = await this.control.runs(this.data.id);
    const extent = await this.data.extent();
    if (kept !== null) {
      if (kept.covered_to > (extent?.end ?? 0)) throw this.#truncated(kept.covered_to, extent?.end ?? 0);
      this.runs.adopt(kept);
    }
    if (extent === null) return true;
    if (extent.first > this.runs.coveredTo) {
      const detail = `topic ${this.data.name} begins at offset ${extent.first}, and runs are known up to ${this.runs.coveredTo}`;
      throw fail('SYN-L070', detail, { context: { topic: this.data.name, first: extent.first } });
    }
    const end = Math.min(to, extent.end);
    while (this.runs.coveredTo < end) {
      const from = this.runs.coveredTo;
      const { batches, next } = await this.data.fetchBelow(from, SCAN);
      if (batches.length === 0) return false;
      for (const batch of batches) {
        for (const { record } of this.partsOf(batch, from)) {
          if (record.offset >= this.runs.coveredTo) this.runs.extend(record.offset, record.run);
        }
      }
      this.runs.coverTo(next);
      this.#coverAppended();
    }
    return true;
  }

  #truncated(covered: number, end: number): Error {
    const detail = `topic ${this.data.name} was written up to offset ${covered}, and ends at ${end}`;
    return fail('SYN-L066', detail, { context: { topic: this.data.name, covered, end } });
  }
}
