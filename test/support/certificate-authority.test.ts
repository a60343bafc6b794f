import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { CertificateAuthority } from './certificate-authority.ts';

test('what an authority issues is verified by its own certificate, and by no other', () => {
  const authority = new CertificateAuthority();
  const root = new X509Certificate(authority.certificate);
  const server = authority.server();
  const leaf = new X509Certificate(server.certificate);
  assert.equal(root.ca, true);
  assert.equal(leaf.ca, false);
  assert.ok(root.verify(root.publicKey) && leaf.verify(root.publicKey));
  assert.ok(leaf.checkIssued(root) && leaf.checkPrivateKey(createPrivateKey(server.key)));
  assert.equal(leaf.checkHost('localhost'), 'localhost');
  assert.equal(leaf.checkIP('127.0.0.1'), '127.0.0.1');
  assert.equal(leaf.verify(new X509Certificate(new CertificateAuthority().certificate).publicKey), false);
});

test('two sides shake hands with certificates of one authority, and the server learns the name of the client', async () => {
  const authority = new CertificateAuthority();
  const { key, certificate: cert } = authority.server();
  const names: string[] = [];
  const server = createServer({ key, cert, ca: authority.certificate, requestCert: true, rejectUnauthorized: true });
  server.on('secureConnection', (socket) => {
    names.push(String(socket.getPeerCertificate().subject.CN));
    socket.end('ok');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const alice = authority.client('alice');
    const client = connect({
      host: '127.0.0.1',
      port,
      ca: authority.certificate,
      key: alice.key,
      cert: alice.certificate,
    });
    const [data] = (await once(client, 'data')) as [Buffer];
    assert.equal(data.toString(), 'ok');
    assert.deepEqual(names, ['alice']);
    client.destroy();
  } finally {
    server.close();
  }
});
