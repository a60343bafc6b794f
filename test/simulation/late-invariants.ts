/** Invariants of a table that was published in mid-run: it ends equal everywhere, and with the highest of what was told and written. */
import type { Image } from '../../src/change/change-event.ts';
import { hlcFromText } from '../../src/change/hlc.ts';
import { compareVersions, type Version } from '../../src/change/version.ts';
import type { Failure } from './invariants.ts';
import { LATE } from './model-store.ts';
import type { Published } from './published.ts';
import type { Region } from './region.ts';

type Write = { readonly version: Version; readonly image: Image | null; readonly index: number };

export function checkLateTable(regions: readonly Region[], published: Published): Failure | null {
  const expected = new Map<string, Write>();
  let since = 0n;
  for (const transactions of published.values())
    for (const { events } of transactions)
      for (const { claim } of events)
        if (claim !== undefined && hlcFromText(claim.since) > since) since = hlcFromText(claim.since);
  const truncates: Write[] = [];
  const takes = (key: string, write: Write): void => {
    const known = expected.get(key);
    const order = known === undefined ? 1 : compareVersions(write.version, known.version) || write.index - known.index;
    if (order > 0) expected.set(key, write);
  };
  for (const [origin, transactions] of published) {
    for (const { hlc, events } of transactions) {
      for (const event of events) {
        if (event.table_name !== LATE) continue;
        const { claim, before_image, after_image, row_pk, operation } = event;
        // A later generation tells all rows anew that are left by then.
        if (claim === undefined ? hlc <= since : hlcFromText(claim.since) < since) continue;
        const version = { hlc: claim === undefined ? hlc : hlcFromText(claim.version), origin };
        const { index } = event.transaction;
        if (operation === 'TRUNCATE') truncates.push({ version, image: null, index });
        else {
          if (operation === 'UPDATE' && before_image !== null && before_image.id !== row_pk.id)
            takes(before_image.id ?? '', { version, image: null, index });
          takes(row_pk.id ?? '', { version, image: after_image, index });
        }
      }
    }
  }
  for (const truncate of truncates) for (const key of expected.keys()) takes(key, truncate);
  const [first] = regions;
  for (const { name, database } of regions) {
    const rows = tell(database.table(LATE).slots.values());
    const others = tell(first?.database.table(LATE).slots.values() ?? []);
    if (rows !== others) {
      return { invariant: 'converges', message: `${first?.name} holds ${others}, and ${name} ${rows}` };
    }
    for (const [key, { image }] of expected) {
      const found = database.table(LATE).slots.get(key)?.tuple?.image.v ?? null;
      if (found === (image?.v ?? null)) continue;
      const message = `${name} has ${found} in row ${key}, and the highest is ${image?.v ?? 'a removal'}`;
      return { invariant: 'converges', message };
    }
  }
  return null;
}

function tell(slots: Iterable<{ readonly key: string; readonly tuple: { readonly image: Image } | null }>): string {
  const rows = [...slots].flatMap(({ key, tuple }) => (tuple === null ? [] : [`${key}=${tuple.image.v}`]));
  return rows.sort().join(' ') || 'nothing';
}
