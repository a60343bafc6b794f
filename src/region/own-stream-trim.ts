/**
 * Keeps the own stream as short as it may be: trims what every region that reads it, this one included, has acknowledged,
 * for as long as a stream is kept beyond that.
 */
import type { Mark } from '../apply/apply-port.ts';
import type { EventLog } from '../log/event-log.ts';
import type { Config } from '../platform/config.ts';
import type { CaptureKeeper } from './capture-keeper.ts';

/** The own log, and how long it keeps what nobody needs. */
export type TrimmedLogs = {
  readonly isTrimmed: boolean;
  of(region: string): EventLog;
  trimTo(neededFrom: number, bytes: number, nowMs: number): number;
};

export type OwnStreamTrimOptions = {
  readonly config: Pick<Config, 'region' | 'peers'>;
  readonly logs: TrimmedLogs;
  readonly capture: Pick<CaptureKeeper, 'isBaselineTold' | 'trim'>;
  /** Up to where the own stream has come back, and that is durable. */
  readonly ownMark: () => Mark | undefined;
};

export class OwnStreamTrim {
  readonly #options: OwnStreamTrimOptions;
  #bytes = 0;

  constructor(options: OwnStreamTrimOptions) {
    this.#options = options;
  }

  /** How large the stream is, as of the last trim. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Trims, and measures. */
  async run(): Promise<void> {
    const { config, logs, capture } = this.#options;
    const neededFrom = await this.neededFrom();
    if (neededFrom > 0 && capture.isBaselineTold) await capture.trim(neededFrom);
    await using reader = await logs.of(config.region).reader(config.region);
    this.#bytes = await reader.sizeBytes();
  }

  /** Nobody needs the stream below that offset. */
  async neededFrom(): Promise<number> {
    const { config, logs, ownMark } = this.#options;
    if (!logs.isTrimmed) return 0;
    const { region, peers } = config;
    const log = logs.of(region);
    const acknowledged = await log.acknowledged(region);
    // A database that was restored needs again what it had acknowledged before: its own mark tells.
    const own = (ownMark()?.log_offset ?? 1) - 1;
    const needed = Math.min(own, ...peers.map((peer) => acknowledged.get(peer.region) ?? 0));
    await using reader = await log.reader(region);
    return logs.trimTo(needed, await reader.sizeBytes(), Date.now());
  }
}
