// Writes X.509 certificates for tests, in memory: Node signs and reads them but cannot write one,
// and keys in the repository would look like leaked secrets. Keys are of P-256 throughout.

import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Subject {
  readonly commonName: string;
  readonly publicKey: KeyObject;
}

export type CertificateKind =
  | { readonly kind: 'authority' }
  | { readonly kind: 'leaf'; readonly hostNames: readonly string[]; readonly addresses: readonly string[] };

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_ID = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const SEQUENCE = 0x30;
const SET = 0x31;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;
const KEY_ID = 0x80;
const explicit = (number: number): number => 0xa0 + number;

const TRUE = der(BOOLEAN, Buffer.of(0xff));
// 1.2.840.10045.4.3.2, and below id-ce (2.5.29) and id-kp (1.3.6.1.5.5.7.3).
const ECDSA_SHA256 = der(SEQUENCE, der(OBJECT_ID, Buffer.from('2a8648ce3d040302', 'hex')));
const COMMON_NAME = der(OBJECT_ID, Buffer.from('550403', 'hex'));
const SUBJECT_KEY_ID = 14;
const KEY_USAGE = 15;
const ALTERNATIVE_NAMES = 17;
const BASIC_CONSTRAINTS = 19;
const AUTHORITY_KEY_ID = 35;
const EXTENDED_KEY_USAGE = 37;
const SERVER_AND_CLIENT = [1, 2].map((purpose) => der(OBJECT_ID, Buffer.from(`2b0601050507030${purpose}`, 'hex')));

/** The certificate in PEM, valid from 2000 to 2049, signed with the issuer's key. */
export function writeCertificate(
  subject: Subject,
  kind: CertificateKind,
  issuer: Subject & { readonly privateKey: KeyObject },
): string {
  const content = der(
    SEQUENCE,
    der(explicit(0), der(INTEGER, Buffer.of(2))),
    der(INTEGER, Buffer.concat([Buffer.of(1), randomBytes(15)])),
    ECDSA_SHA256,
    nameOf(issuer),
    der(SEQUENCE, utcTime('000101000000Z'), utcTime('491231235959Z')),
    nameOf(subject),
    subject.publicKey.export({ type: 'spki', format: 'der' }),
    der(explicit(3), der(SEQUENCE, ...extensions(subject, kind, issuer))),
  );
  const signature = sign('sha256', content, issuer.privateKey);
  const certificate = der(SEQUENCE, content, ECDSA_SHA256, der(BIT_STRING, Buffer.of(0), signature));
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n').trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function extensions(subject: Subject, kind: CertificateKind, issuer: Subject): Buffer[] {
  const keyIds = [
    extension(SUBJECT_KEY_ID, der(OCTET_STRING, keyId(subject))),
    extension(AUTHORITY_KEY_ID, der(SEQUENCE, der(KEY_ID, keyId(issuer)))),
  ];
  if (kind.kind === 'authority') {
    // May sign certificates and their revocations.
    const usage = der(BIT_STRING, Buffer.of(1, 0x06));
    return [critical(BASIC_CONSTRAINTS, der(SEQUENCE, TRUE)), critical(KEY_USAGE, usage), ...keyIds];
  }
  const names = [
    ...kind.hostNames.map((name) => der(DNS_NAME, Buffer.from(name))),
    ...kind.addresses.map((address) => der(IP_ADDRESS, Buffer.from(address.split('.').map(Number)))),
  ];
  return [
    critical(BASIC_CONSTRAINTS, der(SEQUENCE)),
    critical(KEY_USAGE, der(BIT_STRING, Buffer.of(7, 0x80))),
    extension(EXTENDED_KEY_USAGE, der(SEQUENCE, ...SERVER_AND_CLIENT)),
    ...keyIds,
    ...(names.length > 0 ? [extension(ALTERNATIVE_NAMES, der(SEQUENCE, ...names))] : []),
  ];
}

const objectId = (number: number): Buffer => der(OBJECT_ID, Buffer.of(0x55, 0x1d, number));
const extension = (id: number, value: Buffer): Buffer => der(SEQUENCE, objectId(id), der(OCTET_STRING, value));
const critical = (id: number, value: Buffer): Buffer => der(SEQUENCE, objectId(id), TRUE, der(OCTET_STRING, value));
const utcTime = (text: string): Buffer => der(UTC_TIME, Buffer.from(text));
const nameOf = ({ commonName }: Subject): Buffer =>
  der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from(commonName)))));
const keyId = ({ publicKey }: Subject): Buffer =>
  createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const header =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
