import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Conflict } from '../api/schemas.ts';
import { renderConflict } from './conflict-view.ts';

process.env.NO_COLOR = '1';

const CONFLICT: Conflict = {
  conflict_id: '01890000-0000-7000-8000-000000000001',
  event_id_a: '01890000-0000-7000-8000-00000000000a',
  event_id_b: '01890000-0000-7000-8000-00000000000b',
  schema_name: 'public',
  table_name: 'orders',
  row_pk: { id: '7' },
  resolution_strategy: 'lww',
  merge_version: null,
  winner_event_id: '01890000-0000-7000-8000-00000000000b',
  resolved_at: '2026-01-01T00:00:00.000000Z',
  image_a: { id: '7', state: 'paid', note: null, total: '10' },
  image_b: { id: '7', state: 'sent', note: '', total: '10' },
  base_image: { id: '7', state: 'new', note: null, total: '10' },
  result_image: { id: '7', state: 'sent', note: '', total: '10' },
  provisional: false,
  provisional_reason: null,
  constraint_name: null,
  parent_table: null,
  redacted: [],
  loser_region: 'us',
  winner_region: 'eu',
  loser_hlc: '1',
  winner_hlc: '2',
};

test('only columns that differ are shown, NULL and an empty text apart', () => {
  assert.equal(
    renderConflict(CONFLICT),
    `public.orders id=7  lww, final  2026-01-01T00:00:00.000000Z
  lost us 01890000-0000-7000-8000-00000000000a
  won  eu 01890000-0000-7000-8000-00000000000b
  record 01890000-0000-7000-8000-000000000001
  column  before  us (lost)  eu (won)  result
  state   new     paid       sent      sent
  note    NULL    NULL       ""        ""
  2 more columns are equal
`,
  );
});

test('columns that are withheld are named, and never said to be equal', () => {
  const image = { id: '7', state: '«redacted»', note: 'b' };
  const images = { image_a: { ...image, note: 'a' }, image_b: image, base_image: image, result_image: image };
  const text = renderConflict({ ...CONFLICT, ...images, redacted: ['state'] });
  assert.match(text, /\n {2}note [^\n]+\n {2}1 more column is equal\n {2}withheld: state\n$/);
  const alike = renderConflict({ ...CONFLICT, ...images, image_a: image, redacted: ['state'] });
  assert.match(alike, /\n {2}what is shown is the same on both sides\n {2}withheld: state\n$/);
});

test('a deleted row is shown as none, beside all that the other side had', () => {
  const text = renderConflict({ ...CONFLICT, image_b: null, result_image: null, base_image: null, provisional: true });
  assert.match(text, /provisional/);
  assert.match(text, /state +no row +paid +no row +no row/);
  assert.match(text, /id +no row +7 +no row +no row/);
});

test('a value that was not sent is told from NULL, and a long one is cut', () => {
  const image_a = { id: '7', note: 'x'.repeat(1_000) };
  const text = renderConflict({ ...CONFLICT, image_a });
  assert.match(text, /state +new +not sent/);
  assert.match(text, /note +NULL +x{35}… /);
  const spaced = renderConflict({ ...CONFLICT, image_a: { id: '7', note: `${'x'.repeat(1_000)} ` } });
  assert.match(spaced, /note +NULL +"x{34}… /);
  for (const line of `${text}${spaced}`.split('\n')) assert.ok(line.length < 200);
});

test('writes of the same values are told as such', () => {
  assert.match(
    renderConflict({ ...CONFLICT, image_a: CONFLICT.image_b, base_image: CONFLICT.image_b }),
    /both wrote the same values/,
  );
});

test('a row without a parent tells what it names, and who removed that', () => {
  const orphan = {
    ...CONFLICT,
    resolution_strategy: 'orphan',
    event_id_a: null,
    image_a: { id: '7', customer: '1' },
    image_b: null,
    base_image: null,
    result_image: null,
    constraint_name: 'orders_customer_fkey',
    parent_table: 'public.customers',
    loser_region: 'eu',
  };
  const removed = 'removed by eu 01890000-0000-7000-8000-00000000000b\n';
  assert.equal(
    renderConflict(orphan),
    `public.orders id=7  orphan, final  2026-01-01T00:00:00.000000Z
  customer=1 names no row of public.customers (constraint orders_customer_fkey)
  ${removed}`,
  );
  // The key of the row may be what names the other.
  assert.match(
    renderConflict({ ...orphan, image_a: { id: '7' } }),
    /^ {2}id=7 names no row of public\.customers \(constraint orders_customer_fkey\)$/m,
  );
});
