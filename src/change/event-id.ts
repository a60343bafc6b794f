/**
 * Event ids: valid UUIDv7 (RFC 9562, section 5.7) with nothing random in them.
 *
 * The 48 bits of time are the HLC's milliseconds, so ids sort about as the events do; the 74 bits that the RFC leaves
 * to randomness are a SHA-1 of (hlc, origin, position, index). Publishing the same WAL again gives the same ids, which
 * is what lets a restarted capture recognise what it had published.
 */
import { hash } from 'node:crypto';
import { type Hlc, hlcMicros } from './hlc.ts';
import type { Position } from './position.ts';

export function eventId(hlc: Hlc, origin: string, position: Position, index: number): string {
  const millis = (hlcMicros(hlc) / 1000n).toString(16).padStart(12, '0');
  const digest = hash('sha1', `${hlc}|${origin}|${position}|${index}`, 'hex');
  const variant = '89ab'.charAt(Number.parseInt(digest.charAt(3), 16) & 3);
  return `${millis.slice(0, 8)}-${millis.slice(8, 12)}-7${digest.slice(0, 3)}-${variant}${digest.slice(4, 7)}-${digest.slice(7, 19)}`;
}
