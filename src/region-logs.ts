/**
 * The logs that a region's agent works with: its own, and those of its peers where they are others. Two regions whose
 * settings are the same share one, with its connections.
 *
 * How a stream gets shorter depends on the log. The embedded one is trimmed by its agent, to what all have read. Kafka keeps
 * events for a time, read or not, and drops them by itself: there it counts how long a link that rests still has.
 */

import { EmbeddedLog } from './log/embedded/embedded-log.ts';
import type { EventLog } from './log/event-log.ts';
import type { KafkaLog } from './log/kafka/kafka-log.ts';
import { Retention } from './log/retention.ts';
import { invariant } from './platform/assert.ts';
import type { EmbeddedLogConfig, KafkaLogConfig, LogConfig, PeerLogConfig } from './platform/log-config.ts';
import type { StreamTraffic } from './platform/meter.ts';

export type LogsConfig = {
  readonly region: string;
  readonly log: LogConfig;
  readonly peers: readonly { readonly region: string; readonly log?: PeerLogConfig }[];
};

type Opened =
  | { readonly kind: 'embedded'; readonly log: EmbeddedLog }
  | { readonly kind: 'kafka'; readonly log: KafkaLog };

const MS_PER_HOUR = 3_600_000;

export class RegionLogs implements AsyncDisposable {
  readonly #own: LogConfig;
  readonly #byRegion: ReadonlyMap<string, Opened>;
  readonly #opened: readonly Opened[];
  /** Null where the log drops by itself what is old. */
  readonly #retention: Retention | null;

  private constructor(own: LogConfig, byRegion: ReadonlyMap<string, Opened>, opened: readonly Opened[]) {
    this.#own = own;
    this.#byRegion = byRegion;
    this.#opened = opened;
    this.#retention = own.type === 'embedded' ? new Retention(own.keep_hours * MS_PER_HOUR, own.max_bytes) : null;
  }

  /** `onWarning` is told what is not as it should be, and can be worked with. */
  static async open({ region, log, peers }: LogsConfig, onWarning: (detail: string) => void): Promise<RegionLogs> {
    await using resources = new AsyncDisposableStack();
    const byPlace = new Map<string, Opened>();
    const byRegion = new Map<string, Opened>();
    for (const each of [{ region, log }, ...peers]) {
      const place = placeOf(each.log ?? log);
      let opened = byPlace.get(place);
      if (opened === undefined) {
        opened = await open(each.log ?? log, log, onWarning);
        resources.use(opened.log);
        byPlace.set(place, opened);
      }
      byRegion.set(each.region, opened);
    }
    resources.move();
    return new RegionLogs(log, byRegion, [...byPlace.values()]);
  }

  /** The log where that region's stream is. */
  of(region: string): EventLog {
    return this.#of(region).log;
  }

  /** The bound of the own stream, where it has one. */
  get bytesMax(): number | null {
    return this.#own.type === 'embedded' ? this.#own.max_bytes : null;
  }

  /** Whether the agent trims its stream. */
  get isTrimmed(): boolean {
    return this.#retention !== null;
  }

  /** Below which offset the own stream may be trimmed, where nobody needs anything below `neededFrom` now. */
  trimTo(neededFrom: number, bytes: number, nowMs: number): number {
    return this.#retention?.trimTo(neededFrom, bytes, nowMs) ?? 0;
  }

  /**
   * How long the stream of a region keeps at least what it holds from an offset on; null where it is not dropped before it
   * is read, or where that is not known.
   */
  async keptForMs(region: string, from: number): Promise<number | null> {
    const opened = this.#of(region);
    return opened.kind === 'kafka' ? await opened.log.keptForMs(region, from) : null;
  }

  /** What was appended and fetched since the start, where that goes over a network. */
  traffic(): StreamTraffic[] {
    return this.#opened.flatMap((opened) => (opened.kind === 'kafka' ? opened.log.traffic() : []));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { log } of this.#opened) await log[Symbol.asyncDispose]();
  }

  #of(region: string): Opened {
    const opened = this.#byRegion.get(region);
    invariant(opened !== undefined, `the log of region ${region} is open`);
    return opened;
  }
}

/** What tells one log from another. */
function placeOf(log: LogConfig | PeerLogConfig): string {
  if (log.type === 'embedded') return `embedded ${log.path}`;
  const { brokers, client_id, topic_prefix, tls, sasl } = log;
  return `kafka ${JSON.stringify([brokers, client_id, topic_prefix, tls, sasl])}`;
}

async function open(
  config: LogConfig | PeerLogConfig,
  own: LogConfig,
  onWarning: (detail: string) => void,
): Promise<Opened> {
  if (config.type === 'embedded') {
    const { path, max_bytes }: Pick<EmbeddedLogConfig, 'path'> & Partial<EmbeddedLogConfig> = config;
    return { kind: 'embedded', log: await EmbeddedLog.open(path, max_bytes === undefined ? {} : { max_bytes }) };
  }
  // A peer's topics are made by its own agent; what is not said of them is not used.
  const defaults: Pick<KafkaLogConfig, 'compression' | 'keep_hours'> =
    own.type === 'kafka' ? own : { compression: 'lz4', keep_hours: 1 };
  const settings = { compression: defaults.compression, keep_hours: defaults.keep_hours, ...config };
  // Loaded by those alone who have use for it: its client compiles much at its start.
  const { KafkaLog } = await import('./log/kafka/kafka-log.ts');
  return { kind: 'kafka', log: await KafkaLog.open(settings, { onWarning }) };
}
