/** What conflict log and quarantine hold, for the tests of the API: ids count, so that pages can be told. */
import type { ApiFixture } from './api-fixture.ts';

export const uuid = (number: number): string => `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`;

/** Ten share a millisecond; every other one is of another table. */
export async function addConflicts({ client }: ApiFixture, count: number, first = 0): Promise<void> {
  await client.query(
    `insert into syncline.conflict_log (conflict_id, event_id_a, schema_name, table_name, row_pk, resolution_strategy,
        loser_hlc, loser_origin, winner_hlc, winner_origin, image_a, image_b, result_image, resolved_at)
     select id, id, case n % 2 when 0 then 'odd' else 'public' end, case n % 2 when 0 then 'na.me' else 'plain' end,
            jsonb_build_object('id', n::text), 'lww', n, 'us', n + 1, 'ap',
            jsonb_build_object('id', n::text, 'v', 'a'), jsonb_build_object('id', n::text, 'v', null),
            jsonb_build_object('id', n::text, 'v', null),
            '2026-01-01 00:00:00Z'::timestamptz + interval '1 second' * (n / 10) + interval '1 microsecond' * (n % 10 / 3 * 3)
       from generate_series($1::int, $1::int + $2::int - 1) n,
            lateral (select ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid as id) i`,
    [String(first), String(count)],
  );
}

export async function addQuarantined({ client }: ApiFixture, count: number): Promise<void> {
  await client.query(
    `insert into syncline.quarantine (event_id, origin, schema_name, table_name, key, row_pk, hlc, position, event, sqlstate, error)
     select ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'us', 'public', 't', '["' || n || '"]',
            json_build_object('id', n::text), n, 'p', json_build_object('operation', 'INSERT'), '23514', 'no'
       from generate_series(0, $1::int - 1) n`,
    [String(count)],
  );
}
