/**
 * A Kafka broker that is near its own region and far from the others: it has a listener for those, which it advertises as a
 * proxy's address, so that every connection made from afar goes through the proxy, and none from near does.
 */
import { randomUUID } from 'node:crypto';
import { type KafkaBroker, startKafka } from '../../src/platform/embedded-kafka.ts';
import { freePort, LOOPBACK } from '../../src/platform/free-port.ts';
import { kafkaSettings } from '../../src/platform/kafka-properties.ts';
import { kafkaLog, randomPrefix } from './cluster-log.ts';
import { TcpProxy } from './tcp-proxy.ts';

export class FarKafka implements AsyncDisposable {
  readonly broker: KafkaBroker;
  readonly proxy: TcpProxy;
  /** The region's log as its own agent is told of it, and as the others are. */
  readonly near: string;
  readonly fromAfar: string;

  private constructor(broker: KafkaBroker, proxy: TcpProxy) {
    this.broker = broker;
    this.proxy = proxy;
    const prefix = randomPrefix();
    this.near = kafkaLog(broker, prefix);
    this.fromAfar = kafkaLog({ brokers: [`${proxy.host}:${proxy.port}`] }, prefix);
  }

  static async start(): Promise<FarKafka> {
    const chosen = new Set<number>();
    while (chosen.size < 4) chosen.add(await freePort());
    const [client = 0, internal = 0, controller = 0, far = 0] = chosen;
    const ports = { client, internal, controller };
    await using started = new AsyncDisposableStack();
    const proxy = started.use(await TcpProxy.start({ host: LOOPBACK, port: far }));
    const settings = kafkaSettings('', ports);
    const broker = await startKafka({
      isLongLived: true,
      member: { node: 1, clusterId: randomUUID(), ports: [ports] },
      overrides: {
        listeners: `${settings.listeners},FAR://${LOOPBACK}:${far}`,
        'advertised.listeners': `${settings['advertised.listeners']},FAR://${proxy.host}:${proxy.port}`,
        'listener.security.protocol.map': `${settings['listener.security.protocol.map']},FAR:PLAINTEXT`,
      },
    });
    started.move();
    return new FarKafka(broker, proxy);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.broker[Symbol.asyncDispose]();
  }
}
