// Finds a loopback port that nobody listens on. It lies below the ephemeral range, so that no
// outgoing connection takes it while a server that owns it restarts. Another process may still take
// it before the caller binds it: whoever starts a server looks again then.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';

const PORT_MIN = 15_000;
const PORT_MAX = 30_000;

export const LOOPBACK = '127.0.0.1';

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + (randomBytes(2).readUInt16LE() % (PORT_MAX - PORT_MIN));
    if (await isPortFree(port)) return port;
  }
}

/** So many, no two of them the same. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

export function isPortFree(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise<boolean>((resolve) => {
    probe.once('error', () => resolve(false));
    probe.listen({ host: LOOPBACK, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
