/**
 * What this region's database has of versions in shadow: conflicts that wait to be judged, what came of those that were, and the
 * newest samples. One statement takes conflicts off the list and counts them, so each counts once, whoever dies in between.
 */
import type { Image } from '../change/change-event.ts';
import { hlcFromText } from '../change/hlc.ts';
import { arrayText } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import type { FoldEvent } from '../resolve/fold.ts';
import { type FoldState, foldStateFromText } from '../resolve/fold-state.ts';

/** Of one version; the newest by their own stamps, so that regions keep the same. */
export const SAMPLES_MAX = 100;

export type WaitingCase = {
  readonly case_id: string;
  readonly version_id: string;
  readonly schema_name: string;
  readonly table_name: string;
  readonly row_pk: Image;
  readonly state: FoldState;
  readonly event: FoldEvent & { readonly event_id: string };
  /** The version that the event goes by; null for last writer wins. */
  readonly merge_version: string | null;
  readonly result: Image | null;
};

/** `kinds` is what it counts as; `sample` is null for what is not worth keeping. */
export type JudgedCase = {
  readonly case_id: string;
  readonly version_id: string;
  readonly kinds: readonly string[];
  readonly sample: ShadowSampleRow | null;
};

export type ShadowSampleRow = {
  readonly event_id: string;
  readonly row_pk: Image;
  readonly hlc: string;
  readonly origin: string;
  readonly merge_version: string | null;
  readonly failure: string | null;
  readonly base_image: Image | null;
  readonly image_a: Image | null;
  readonly image_b: Image | null;
  readonly result_image: Image | null;
  readonly shadow_image: Image | null;
  readonly redacted: readonly string[];
};

export type ShadowCounts = {
  /** Conflicts that were judged. */
  readonly conflicts: number;
  /** Those of them that the version would have made another row of. */
  readonly differences: number;
  /** By reason, how often the version could not merge. */
  readonly failures: Readonly<Record<string, number>>;
  /** Conflicts that were too many to wait, and were not judged. */
  readonly skipped: number;
};

type StoredEvent = Omit<WaitingCase['event'], 'version'> & {
  readonly hlc: string;
  readonly origin: string;
  readonly merge?: string;
};

export async function readWaiting(database: Queryable, limit: number): Promise<WaitingCase[]> {
  const { rows } = await database.query(
    `select case_id, version_id, schema_name, table_name, row_pk, state, event, result
       from syncline.merge_shadow_case order by case_id limit $1::bigint`,
    [String(limit)],
  );
  return rows.map((row) => {
    const { hlc, origin, merge, ...event } = JSON.parse(row.event ?? '') as StoredEvent;
    const version = { hlc: hlcFromText(hlc.padStart(19, '0')), origin };
    return {
      case_id: String(row.case_id),
      version_id: String(row.version_id),
      schema_name: String(row.schema_name),
      table_name: String(row.table_name),
      row_pk: JSON.parse(row.row_pk ?? '') as Image,
      state: foldStateFromText(row.state ?? ''),
      event: { ...event, version },
      merge_version: merge ?? null,
      result: (JSON.parse(row.result ?? '') as { readonly image: Image | null }).image,
    };
  });
}

const SAVE = `
with judged as (
  select * from json_to_recordset($1::json) as j(case_id bigint, version_id text, kinds text[], sample json)
), gone as (
  delete from syncline.merge_shadow_case c using judged j where c.case_id = j.case_id returning c.case_id
), counted as (
  insert into syncline.merge_shadow as s (version_id, kind, amount)
  select version_id, kind, count(*) from judged join gone using (case_id) cross join unnest(kinds) as kind
  group by version_id, kind
  on conflict (version_id, kind) do update set amount = s.amount + excluded.amount, updated_at = clock_timestamp()
)
insert into syncline.merge_shadow_sample (version_id, event_id, row_pk, hlc, origin, merge_version, failure, base_image,
  image_a, image_b, result_image, shadow_image, redacted)
select j.version_id, s.event_id, s.row_pk, s.hlc, s.origin, s.merge_version, s.failure,
  s.base_image, s.image_a, s.image_b, s.result_image, s.shadow_image, s.redacted
from judged j join gone using (case_id), json_to_record(j.sample) as s(event_id uuid, row_pk jsonb, hlc bigint,
  origin text, merge_version text, failure text, base_image json, image_a json, image_b json, result_image json,
  shadow_image json, redacted text[])
where j.sample is not null
on conflict do nothing`;

const TRIM = `
delete from syncline.merge_shadow_sample s using unnest($1::text[]) as v(version_id)
where s.version_id = v.version_id and (s.hlc, s.origin, s.event_id, s.row_pk) < (
  select hlc, origin, event_id, row_pk from syncline.merge_shadow_sample o where o.version_id = v.version_id
  order by hlc desc, origin desc, event_id desc, row_pk desc offset ${SAMPLES_MAX - 1} limit 1)`;

export async function saveJudged(database: Queryable, cases: readonly JudgedCase[]): Promise<void> {
  await database.query(SAVE, [JSON.stringify(cases)]);
  const sampled = cases.filter(({ sample }) => sample !== null).map(({ version_id }) => version_id);
  if (sampled.length > 0) await database.query(TRIM, [arrayText([...new Set(sampled)])]);
}

const FAILURE = 'failure:';

/** By version; versions that never ran in shadow are absent. */
export async function readShadowCounts(database: Queryable): Promise<ReadonlyMap<string, ShadowCounts>> {
  const { rows } = await database.query('select version_id, kind, amount from syncline.merge_shadow order by 1, 2');
  const byVersion = Map.groupBy(rows, ({ version_id }) => String(version_id));
  return new Map(
    [...byVersion].map(([version, kinds]) => {
      const amountOf = (kind: string): number => Number(kinds.find((each) => each.kind === kind)?.amount ?? 0);
      const failures = kinds.flatMap(({ kind, amount }) =>
        kind?.startsWith(FAILURE) === true ? [[kind.slice(FAILURE.length), Number(amount)] as const] : [],
      );
      const counts = {
        conflicts: amountOf('conflicts'),
        differences: amountOf('differences'),
        failures: Object.fromEntries(failures),
        skipped: amountOf('skipped'),
      };
      return [version, counts];
    }),
  );
}

export type ShadowSample = Omit<ShadowSampleRow, 'hlc' | 'origin'> & { readonly region_id: string };

/** The newest first. */
export async function readSamples(database: Queryable, versionId: string, limit: number): Promise<ShadowSample[]> {
  const { rows } = await database.query(
    `select json_build_object('event_id', event_id, 'region_id', origin, 'row_pk', row_pk, 'merge_version', merge_version,
        'failure', failure, 'base_image', base_image, 'image_a', image_a, 'image_b', image_b,
        'result_image', result_image, 'shadow_image', shadow_image, 'redacted', redacted) as sample
       from syncline.merge_shadow_sample where version_id = $1
      order by hlc desc, origin desc, event_id desc, row_pk desc limit $2::bigint`,
    [versionId, String(limit)],
  );
  return rows.map(({ sample }) => JSON.parse(sample ?? '') as ShadowSample);
}

export function kindsOf(isDifferent: boolean, failure: string | null): string[] {
  return ['conflicts', ...(isDifferent ? ['differences'] : []), ...(failure === null ? [] : [`${FAILURE}${failure}`])];
}
