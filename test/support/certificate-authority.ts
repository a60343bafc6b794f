// An authority of one test: what it issues is trusted by whoever is given its certificate, and by
// nobody else.

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writeCertificate } from './x509.ts';

/** Both in PEM. */
export interface IssuedCertificate {
  readonly key: string;
  readonly certificate: string;
}

const newKeys = (): { privateKey: KeyObject; publicKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

export class CertificateAuthority {
  readonly certificate: string;
  readonly #self: { commonName: string; privateKey: KeyObject; publicKey: KeyObject };

  constructor(commonName = 'test authority') {
    this.#self = { commonName, ...newKeys() };
    this.certificate = writeCertificate(this.#self, { kind: 'authority' }, this.#self);
  }

  /** For a server on this machine. */
  server(
    hostNames: readonly string[] = ['localhost'],
    addresses: readonly string[] = ['127.0.0.1'],
  ): IssuedCertificate {
    return this.#issue(hostNames[0] ?? 'server', hostNames, addresses);
  }

  /** For a client, whom servers know as its common name. */
  client(commonName: string): IssuedCertificate {
    return this.#issue(commonName, [], []);
  }

  #issue(commonName: string, hostNames: readonly string[], addresses: readonly string[]): IssuedCertificate {
    const { privateKey, publicKey } = newKeys();
    const leaf = { kind: 'leaf', hostNames, addresses } as const;
    return { key: pemOf(privateKey), certificate: writeCertificate({ commonName, publicKey }, leaf, this.#self) };
  }
}

/** Of a server that no authority vouches for. */
export function selfSignedCertificate(commonName = 'localhost'): IssuedCertificate {
  const self = { commonName, ...newKeys() };
  const leaf = { kind: 'leaf', hostNames: [commonName], addresses: [] } as const;
  return { key: pemOf(self.privateKey), certificate: writeCertificate(self, leaf, self) };
}
