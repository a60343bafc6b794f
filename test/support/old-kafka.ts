/**
 * A broker of long ago, as far as a client gets with it: it tells which versions of requests it speaks, and nothing else.
 *
 * Kafka from 2.4 on answers the question for versions in the way of today. One before that knows an older form of the question
 * alone, and says so in the oldest form of an answer.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

const API_VERSIONS = 18;
const UNSUPPORTED_VERSION = 35;
/** What Kafka 2.4 speaks of what is needed: request, lowest and highest version. */
const SPOKEN_BY_2_4: readonly (readonly [key: number, min: number, max: number])[] = [
  [0, 0, 8],
  [1, 0, 11],
  [2, 0, 5],
  [3, 0, 9],
  [API_VERSIONS, 0, 3],
  [19, 0, 5],
  [21, 0, 1],
  [22, 0, 2],
  [32, 0, 2],
  [35, 0, 1],
];

export class OldKafka implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly address: string;

  private constructor(server: Server, address: string) {
    this.#server = server;
    this.address = address;
  }

  static async start(version: '2.3' | '2.4'): Promise<OldKafka> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('a broker listens on a TCP port');
    const broker = new OldKafka(server, `127.0.0.1:${bound.port}`);
    server.on('connection', (socket) => broker.#serve(socket, version === '2.3' ? refusal : spoken));
    return broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket, answer: (correlationId: number) => Buffer): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    let held = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 4 && held.length >= 4 + held.readInt32BE(0)) {
        const request = held.subarray(4, 4 + held.readInt32BE(0));
        held = held.subarray(4 + request.length);
        if (request.readInt16BE(0) === API_VERSIONS) socket.write(answer(request.readInt32BE(4)));
        else socket.destroy();
      }
    });
  }
}

/** Version 3 of the answer. */
function spoken(correlationId: number): Buffer {
  const body = Buffer.alloc(4 + 2 + 1 + SPOKEN_BY_2_4.length * 7 + 4 + 1);
  let at = body.writeInt32BE(correlationId, 0);
  at = body.writeInt16BE(0, at);
  at = body.writeUInt8(SPOKEN_BY_2_4.length + 1, at);
  for (const [key, min, max] of SPOKEN_BY_2_4) {
    for (const number of [key, min, max]) at = body.writeInt16BE(number, at);
    at = body.writeUInt8(0, at);
  }
  at = body.writeInt32BE(0, at);
  body.writeUInt8(0, at);
  return framed(body);
}

/** Version 0 of the answer, which everybody understands: the error, and the versions of the question that may be asked. */
function refusal(correlationId: number): Buffer {
  const body = Buffer.alloc(4 + 2 + 4 + 6);
  let at = body.writeInt32BE(correlationId, 0);
  at = body.writeInt16BE(UNSUPPORTED_VERSION, at);
  at = body.writeInt32BE(1, at);
  for (const number of [API_VERSIONS, 0, 2]) at = body.writeInt16BE(number, at);
  return framed(body);
}

function framed(body: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length, 0);
  return Buffer.concat([size, body]);
}
