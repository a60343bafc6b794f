// Finds a loopback port that nobody listens on. It lies below the ephemeral range, so that no
// outgoing connection takes it while a server that owns it restarts. Its number stays with the
// process that asked until that ends, so that no other one is given it before its server binds it,
// or while that restarts: a UDP socket of the same number stands for it, which the system closes
// with the process however that ends. A stranger's server heeds no such thing and may still take
// it: whoever starts a server looks again then.

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const PORT_MIN = 15_000;
const PORT_MAX = 30_000;

export const LOOPBACK = '127.0.0.1';

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + (randomBytes(2).readUInt16LE() % (PORT_MAX - PORT_MIN));
    if ((await claimPort(port)) && (await isPortFree(port))) return port;
  }
}

/** So many, no two of them the same. */
export async function freePorts(count: number): Promise<number[]> {
  return await Promise.all(Array.from({ length: count }, freePort));
}

/** True where no process, this one included, has claimed the number before. */
export function claimPort(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  return new Promise<boolean>((resolve) => {
    socket.once('error', () => socket.close(() => resolve(false)));
    socket.bind({ address: LOOPBACK, port, exclusive: true }, () => {
      socket.unref();
      resolve(true);
    });
  });
}

export function isPortFree(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise<boolean>((resolve) => {
    probe.once('error', () => resolve(false));
    probe.listen({ host: LOOPBACK, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
