/**
 * The gate of a link: nothing of a source is applied here before its baseline and the own one are known to be equal.
 *
 * Rows of a baseline are in no stream. An update of a row that the target never had, or had otherwise, would be applied
 * all the same, and the regions would differ for good with no conflict and no error to show for it. Equal baselines make
 * it irrelevant who started first and what was written since: each stream tells everything since its own beginning.
 *
 * A pair is judged once: a mark of the source in this database says that its events are applied here since. Until then
 * the gate reads the source's stream for what it says of its baseline, beside the link's own reader, which waits; a later
 * record stands for an earlier one. The gate opens by itself, also after it found a difference: the source may begin anew.
 * What the configuration of this region trusts is joined without a comparison, though not before the own baseline is
 * settled: what is applied before the own stream begins would hide in it, and what is applied before the own baseline is
 * read would be taken for it.
 */
import { BASELINE_PARTS, compareBaselines, type TableBaseline } from '../../change/baseline.ts';
import { type BaselineRecord, parseBaseline } from '../../change/stream-record.ts';
import type { StreamReader } from '../../log/event-log.ts';
import { newerRecord } from '../../log/stream-item.ts';
import type { ErrorCode } from '../../platform/errors.ts';

/** What this region knows of its own baseline. */
export type OwnBaseline =
  /** Not yet; and where this region's own stream has not begun, nothing may be applied at all. */
  | { readonly kind: 'unknown' }
  /** By the configuration, which trusts everybody. */
  | { readonly kind: 'unread' }
  | { readonly kind: 'known'; readonly tables: readonly TableBaseline[] }
  | { readonly kind: 'untold'; readonly reason: string };

export type GateVerdict =
  /** Something of the source was applied before this start. */
  | { readonly kind: 'joined' }
  | { readonly kind: 'equal'; readonly compared: number; readonly uncompared: readonly string[] }
  | { readonly kind: 'trusted' }
  /** For the baseline of that region. */
  | { readonly kind: 'waiting'; readonly region: string }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string };

export const isOpen = ({ kind }: GateVerdict): boolean => kind === 'joined' || kind === 'equal' || kind === 'trusted';

/** Names of tables that a message lists. */
const LISTED_MAX = 5;

/** The verdict on a source that was not applied from before. */
export function judge(
  regions: { readonly here: string; readonly source: string },
  own: OwnBaseline,
  said: BaselineRecord | null,
): GateVerdict {
  const { here, source } = regions;
  if (said === null) return { kind: 'waiting', region: source };
  if (said.untold !== null) return refuse('SYN-B002', `what ${source} held cannot be told: ${said.untold}`);
  if (said.tables === null) return refuse('SYN-B003', `${source} trusts its baseline and has not read it`);
  if (own.kind === 'unknown' || own.kind === 'unread') return { kind: 'waiting', region: here };
  if (own.kind === 'untold') return refuse('SYN-B002', `what ${here} held cannot be told: ${own.reason}`);
  const { compared, uncompared, different, untold } = compareBaselines(own.tables, said.tables);
  if (different.length > 0) {
    const found = different.map(({ table, rows_here, rows_there, parts, columns }) => {
      if (columns.length > 0) return `${table} (columns ${columns.join(', ')} are not in both)`;
      return `${table} (${rows_here} rows in ${here}, ${rows_there} in ${source}; ${parts} of ${BASELINE_PARTS} parts of the keys differ)`;
    });
    return refuse('SYN-B001', `${here} and ${source} held different rows where replication began: ${listed(found)}`);
  }
  if (untold.length > 0) {
    const found = untold.map(({ table, reason }) => `${table} (${reason})`);
    return refuse('SYN-B002', `what ${here} or ${source} held cannot be told: ${listed(found)}`);
  }
  return { kind: 'equal', compared, uncompared };
}

const refuse = (code: ErrorCode, detail: string): GateVerdict => ({ kind: 'refused', code, detail });

function listed(found: readonly string[]): string {
  const more = found.length - LISTED_MAX;
  return `${found.slice(0, LISTED_MAX).join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}

export type BaselineGateOptions = {
  readonly region: string;
  readonly source: string;
  readonly isTrusted: boolean;
  readonly reader: () => Promise<StreamReader>;
  /** Told of each verdict that is not the one before. */
  readonly onVerdict: (verdict: GateVerdict) => void;
};

const WAIT_MS = 1_000;
const READ_STEP = { records_max: 500, bytes_max: 1024 * 1024 };

export class BaselineGate {
  readonly #options: BaselineGateOptions;
  #own: OwnBaseline = { kind: 'unknown' };
  #said: BaselineRecord | null = null;
  #verdict: GateVerdict;

  constructor(options: BaselineGateOptions) {
    this.#options = options;
    this.#verdict = { kind: 'waiting', region: options.isTrusted ? options.region : options.source };
  }

  get verdict(): GateVerdict {
    return this.#verdict;
  }

  /** The database has a mark of the source. */
  joined(): void {
    this.#enter({ kind: 'joined' });
  }

  know(own: OwnBaseline): void {
    this.#own = own;
    this.#judge();
  }

  /** Reads what the source says until the gate is open or the signal aborts. */
  async watch(signal: AbortSignal): Promise<void> {
    if (isOpen(this.#verdict) || this.#options.isTrusted) return;
    const { source } = this.#options;
    await using reader = await this.#options.reader();
    let run = -1;
    for (let from = 0; !signal.aborted && !isOpen(this.#verdict); ) {
      const records = await reader.read(from, READ_STEP);
      for (const record of records) {
        from = record.offset + 1;
        // What an agent that was replaced still writes does not count.
        if (record.run < run) continue;
        run = record.run;
        // It may be another baseline.
        if (record.kind === 'newer') throw newerRecord(source, record);
        if (record.kind === 'baseline') this.#said = parseBaseline(record.value);
      }
      this.#judge();
      if (records.length === 0) await reader.waitFor(from, WAIT_MS, signal);
    }
  }

  #judge(): void {
    if (isOpen(this.#verdict)) return;
    const { region: here, source, isTrusted } = this.#options;
    if (isTrusted) this.#enter(this.#own.kind === 'unknown' ? { kind: 'waiting', region: here } : { kind: 'trusted' });
    else this.#enter(judge({ here, source }, this.#own, this.#said));
  }

  #enter(verdict: GateVerdict): void {
    const isNew = JSON.stringify(verdict) !== JSON.stringify(this.#verdict);
    this.#verdict = verdict;
    if (isNew) this.#options.onVerdict(verdict);
  }
}
