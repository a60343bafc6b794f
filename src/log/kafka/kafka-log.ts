/**
 * The log of more than one machine: each stream is a topic with one partition in a Kafka cluster, and a control topic beside
 * it (kafka-control.ts). Positions are kept by those who read, not by Kafka, and Kafka's transactions are not used: runs
 * tell what counts.
 *
 * Opening the log connects to nothing. Whoever writes or reads meets what is wrong, and tries again as he does with
 * any other fault; an agent starts also while its brokers are away.
 */

import type { StreamTraffic } from '../../platform/meter.ts';
import type { EventLog, StreamReader, StreamWriter } from '../event-log.ts';
import { KafkaLink } from './kafka-link.ts';
import { KafkaReader } from './kafka-reader.ts';
import { type KafkaAccess, type KafkaLogSettings, kafkaAccess, topicNames } from './kafka-settings.ts';
import { KafkaSetup } from './kafka-setup.ts';
import { KafkaStream } from './kafka-stream.ts';
import { KafkaWriter } from './kafka-writer.ts';

export type KafkaLogEvents = {
  /** A topic is not as it should be, and can be used. */
  readonly onWarning?: (detail: string) => void;
};

export class KafkaLog implements EventLog {
  readonly #settings: KafkaLogSettings;
  readonly #access: KafkaAccess;
  /** For whatever is answered at once. */
  readonly #link: KafkaLink;
  readonly #setup: KafkaSetup;
  readonly #streams = new Map<string, KafkaStream>();
  readonly #open = new Set<AsyncDisposable>();

  private constructor(
    settings: KafkaLogSettings,
    access: KafkaAccess,
    { onWarning = () => undefined }: KafkaLogEvents,
  ) {
    this.#settings = settings;
    this.#access = access;
    this.#link = new KafkaLink(access);
    this.#setup = new KafkaSetup(this.#link, settings, onWarning);
  }

  static async open(settings: KafkaLogSettings, events: KafkaLogEvents = {}): Promise<KafkaLog> {
    return new KafkaLog(settings, await kafkaAccess(settings), events);
  }

  async writer(stream: string): Promise<StreamWriter> {
    const link = new KafkaLink(this.#access);
    const reader = this.#newReader(stream);
    try {
      const writer: KafkaWriter = await KafkaWriter.open({
        stream: this.#stream(stream),
        link,
        reader,
        compression: this.#settings.compression,
        onClosed: () => this.#open.delete(writer),
      });
      this.#open.add(writer);
      return writer;
    } catch (error) {
      await reader[Symbol.asyncDispose]();
      await link[Symbol.asyncDispose]();
      throw error;
    }
  }

  async reader(stream: string): Promise<StreamReader> {
    const reader: KafkaReader = this.#newReader(stream, () => this.#open.delete(reader));
    this.#open.add(reader);
    return reader;
  }

  async acknowledge(stream: string, consumer: string, offset: number): Promise<void> {
    const { control, data } = this.#stream(stream);
    await data.place();
    await control.acknowledge(consumer, offset, data.id);
  }

  async acknowledged(stream: string): Promise<ReadonlyMap<string, number>> {
    const { control, data } = this.#stream(stream);
    await data.place();
    return await control.acknowledged(data.id);
  }

  /** How long the topic keeps at least what it holds from an offset on; null where it drops nothing, or that is unknown. */
  async keptForMs(stream: string, from: number): Promise<number | null> {
    return await this.#stream(stream).keptForMs(from, Date.now());
  }

  traffic(): StreamTraffic[] {
    return [...this.#streams.values()].map(({ name, data }) => {
      return { stream: name, append: data.appendMeter.tally, fetch: data.fetchMeter.tally };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const open of this.#open) await open[Symbol.asyncDispose]();
    await this.#link[Symbol.asyncDispose]();
  }

  #newReader(stream: string, onClosed: () => void = () => undefined): KafkaReader {
    return new KafkaReader(this.#stream(stream), this.#link, () => new KafkaLink(this.#access), onClosed);
  }

  #stream(name: string): KafkaStream {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    const names = topicNames(this.#settings.topic_prefix, name);
    const created = new KafkaStream(name, names, this.#link, this.#setup);
    this.#streams.set(name, created);
    return created;
  }
}
