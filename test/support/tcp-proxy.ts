// A TCP proxy on loopback that misbehaves on request, so that tests cut the network between an
// agent and its database at chosen moments. Its states are what networks do:
//
//   open        bytes flow, each way delayed by latencyMs
//   cut         current connections are reset once; new ones are served (`cut()` is an act)
//   refusing    current connections are reset, and new ones are refused
//   black hole  nothing flows and nothing closes: what a dropped route or a paused machine looks like
//
// heal() opens again. Bytes that were held in a black hole are delivered then, as TCP would.

import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

// Enough for a long fat network, and no more than a test can spare.
const HELD_BYTES_MAX = 8 * 1024 * 1024;

type State = 'open' | 'refusing' | 'black-hole';

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
}

export class TcpProxy {
  readonly host = '127.0.0.1';
  readonly port: number;
  latencyMs = 0;
  #state: State = 'open';
  #server: Server | undefined;
  readonly #target: { host: string; port: number };
  readonly #pairs = new Set<Pair>();
  #waiting: (() => void)[] = [];

  private constructor(target: { host: string; port: number }, server: Server, port: number) {
    this.#target = target;
    this.port = port;
    this.#listen(server);
  }

  static async start(target: { host: string; port: number }): Promise<TcpProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy listens on a TCP port');
    return new TcpProxy(target, server, address.port);
  }

  /** The same URL, through the proxy. */
  url(databaseUrl: string): string {
    const url = new URL(databaseUrl);
    url.host = `${this.host}:${this.port}`;
    return url.href;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets every current connection; new ones are served. */
  cut(): void {
    for (const { client, upstream } of this.#pairs) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  /** Resets every connection and refuses new ones until heal(). */
  async refuse(): Promise<void> {
    this.#state = 'refusing';
    const server = this.#server;
    this.#server = undefined;
    const closed = server === undefined ? undefined : once(server, 'close');
    server?.close();
    this.cut();
    await closed;
  }

  /** Holds all bytes of all connections, also of new ones, and closes nothing. */
  blackHole(): void {
    this.#state = 'black-hole';
  }

  async heal(): Promise<void> {
    this.#state = 'open';
    if (this.#server === undefined) {
      const server = createServer();
      server.listen(this.port, this.host);
      await once(server, 'listening');
      this.#listen(server);
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse();
    for (const resume of this.#waiting) resume();
    this.#waiting = [];
  }

  #listen(server: Server): void {
    this.#server = server;
    server.on('connection', (client) => this.#accept(client));
  }

  #accept(client: Socket): void {
    const upstream = createConnection(this.#target);
    const pair = { client, upstream };
    this.#pairs.add(pair);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#pairs.delete(pair);
        to.destroySoon();
      });
      void this.#pump(from, to);
    }
  }

  /** Moves bytes in order, each chunk latencyMs after it came, and reads no further while much is held. */
  async #pump(from: Socket, to: Socket): Promise<void> {
    let heldBytes = 0;
    let delivered = Promise.resolve();
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        const due = performance.now() + this.latencyMs;
        heldBytes += chunk.length;
        delivered = delivered.then(async () => {
          await this.#holdUntil(due);
          heldBytes -= chunk.length;
          if (!to.destroyed && !to.write(chunk)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
        });
        // The loop below reports a failed write; until then it must not count as unhandled.
        delivered.catch(() => undefined);
        if (heldBytes > HELD_BYTES_MAX) await delivered;
      }
      await delivered;
      to.end();
    } catch {
      to.destroy(); // The other side was reset: so is this one.
    }
  }

  async #holdUntil(due: number): Promise<void> {
    const waitMs = due - performance.now();
    if (waitMs > 0) await delay(waitMs);
    while (this.#state === 'black-hole') await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
