/**
 * A Kafka broker that is reached through proxies, one for each of those who are named. Each has a listener of its own, which the
 * broker advertises as the proxy's address, so that every connection of theirs goes through the proxy, whatever the broker
 * tells them; whoever uses `broker` itself is near.
 */
import { randomUUID } from 'node:crypto';
import { type KafkaBroker, startKafka } from '../../src/platform/servers/embedded-kafka.ts';
import { freePort, LOOPBACK } from '../../src/platform/servers/free-port.ts';
import { kafkaSettings } from '../../src/platform/servers/kafka-properties.ts';
import { kafkaLog, randomPrefix } from './cluster-log.ts';
import { TcpProxy } from './tcp-proxy.ts';

export class ProxiedKafka implements AsyncDisposable {
  readonly broker: KafkaBroker;
  readonly proxies: ReadonlyMap<string, TcpProxy>;
  readonly #prefix = randomPrefix();

  private constructor(broker: KafkaBroker, proxies: ReadonlyMap<string, TcpProxy>) {
    this.broker = broker;
    this.proxies = proxies;
  }

  static async start(names: readonly string[], { isLongLived = false } = {}): Promise<ProxiedKafka> {
    const chosen = new Set<number>();
    while (chosen.size < 3 + names.length) chosen.add(await freePort());
    const [client = 0, internal = 0, controller = 0, ...listening] = chosen;
    const ports = { client, internal, controller };
    const settings = kafkaSettings('', ports);
    const overrides: Record<string, string> = {};
    const append = (key: string, value: string): void => {
      overrides[key] = `${overrides[key] ?? settings[key]},${value}`;
    };
    await using started = new AsyncDisposableStack();
    const proxies = new Map<string, TcpProxy>();
    for (const [place, name] of names.entries()) {
      const port = listening[place] ?? 0;
      const proxy = started.use(await TcpProxy.start({ host: LOOPBACK, port }));
      proxies.set(name, proxy);
      append('listeners', `VIA${place}://${LOOPBACK}:${port}`);
      append('advertised.listeners', `VIA${place}://${proxy.host}:${proxy.port}`);
      append('listener.security.protocol.map', `VIA${place}:PLAINTEXT`);
    }
    const member = { node: 1, clusterId: randomUUID(), ports: [ports] };
    const broker = await startKafka({ isLongLived, member, overrides });
    started.move();
    return new ProxiedKafka(broker, proxies);
  }

  proxyOf(name: string): TcpProxy {
    const proxy = this.proxies.get(name);
    if (proxy === undefined) throw new Error(`the broker has no proxy for ${name}`);
    return proxy;
  }

  /** The log as those are told of it who are near, or as the named one is. */
  log(name?: string): string {
    if (name === undefined) return kafkaLog(this.broker, this.#prefix);
    const { host, port } = this.proxyOf(name);
    return kafkaLog({ brokers: [`${host}:${port}`] }, this.#prefix);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.proxies.values()) await proxy[Symbol.asyncDispose]();
    await this.broker[Symbol.asyncDispose]();
  }
}
