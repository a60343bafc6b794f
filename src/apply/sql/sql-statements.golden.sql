-- "public"."accounts": upsert of all columns
with u as (
  update only "public"."accounts" as t set "abalance" = i.c2, "filler" = i.c3
  from unnest($8::integer[], $9::integer[], $10::bpchar[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where t."aid" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."accounts"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."accounts"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."accounts" as t ("aid", "abalance", "filler") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::integer[], $9::integer[], $10::bpchar[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."accounts"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."accounts"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("aid") do nothing
  returning t."aid"
)
select i.n from unnest($8::integer[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."accounts": upsert of some columns
with u as (
  update only "public"."accounts" as t set "filler" = i.c2
  from unnest($8::integer[], $9::bpchar[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where t."aid" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."accounts"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."accounts"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."accounts" as t ("aid", "filler") overriding system value
  select i.c1, i.c2 from unnest($8::integer[], $9::bpchar[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."accounts"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."accounts"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("aid") do nothing
  returning t."aid"
)
select i.n from unnest($8::integer[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."accounts": upsert of rows that are likely to be new
with w as (
  insert into "public"."accounts" as t ("aid", "abalance", "filler") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::integer[], $9::integer[], $10::bpchar[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."accounts"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."accounts"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("aid") do nothing
  returning t."aid"
), u as (
  update only "public"."accounts" as t set "abalance" = i.c2, "filler" = i.c3
  from unnest($8::integer[], $9::integer[], $10::bpchar[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from w) < $4::int and (i.c1) not in (select * from w)
  and t."aid" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."accounts"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."accounts"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
)
select i.n from unnest($8::integer[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."accounts": remove
with d as (
  delete from only "public"."accounts" as t using unnest($5::integer[]) with ordinality as i(c1, n)
  where t."aid" operator(pg_catalog.=) any (array[i.c1]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::integer[]) with ordinality as i(c1, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join only "public"."accounts" as t on t."aid" operator(pg_catalog.=) any (array[i.c1])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::integer[]) with ordinality as i(c1, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."accounts": remove all
delete from only "public"."accounts" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."accounts": remaining
select t."aid"
from only "public"."accounts" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."accounts": has forgotten
select exists (select from only "public"."accounts" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."accounts": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."aid", t."abalance", t."filler"
from unnest($1::integer[]) with ordinality as i(c1, n) join only "public"."accounts" as t on t."aid" operator(pg_catalog.=) any (array[i.c1])
for no key update of t;

-- "public"."accounts": overwrite
update only "public"."accounts" as t set "abalance" = $2::integer, "filler" = $3::bpchar
where t."aid" operator(pg_catalog.=) $1::integer;

-- "public"."accounts": overwrite several
update only "public"."accounts" as t set "abalance" = i.c2, "filler" = i.c3
from unnest($1::integer[], $2::integer[], $3::bpchar[]) with ordinality as i(c1, c2, c3, n)
where t."aid" operator(pg_catalog.=) any (array[i.c1]);

-- "public"."accounts": insert
insert into "public"."accounts" ("aid", "abalance", "filler") overriding system value
values ($1::integer, $2::integer, $3::bpchar)
on conflict ("aid") do nothing;

-- "public"."accounts": erase
delete from only "public"."accounts" as t where t."aid" operator(pg_catalog.=) $1::integer;

-- "public"."accounts": canonical keys
select i.c1 from unnest($1::integer[]) with ordinality as i(c1, n) order by i.n;

-- "public"."Order ""lines""'s": upsert of all columns
with u as (
  update only "public"."Order ""lines""'s" as t set "no" = i.c1, "code" = i.c2, "tags" = i.c3::text[], "price" = i.c4::public.euros
  from unnest($8::numeric[], $9::ext.citext[], $10::text[], $11::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where t."code" operator(ext.=) any (array[i.c2]) and t."no" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."Order ""lines""'s" as t ("no", "code", "tags", "price") overriding system value
  select i.c1, i.c2, i.c3::text[], i.c4::public.euros from unnest($8::numeric[], $9::ext.citext[], $10::text[], $11::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("code", "no") do nothing
  returning t."code", t."no"
)
select i.n from unnest($9::ext.citext[], $8::numeric[]) with ordinality as i(c2, c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c2, i.c1) not in (select * from w);

-- "public"."Order ""lines""'s": upsert of some columns
with u as (
  update only "public"."Order ""lines""'s" as t set "no" = i.c1, "code" = i.c2, "tags" = i.c3::text[]
  from unnest($8::numeric[], $9::ext.citext[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where t."code" operator(ext.=) any (array[i.c2]) and t."no" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."Order ""lines""'s" as t ("no", "code", "tags") overriding system value
  select i.c1, i.c2, i.c3::text[] from unnest($8::numeric[], $9::ext.citext[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("code", "no") do nothing
  returning t."code", t."no"
)
select i.n from unnest($9::ext.citext[], $8::numeric[]) with ordinality as i(c2, c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c2, i.c1) not in (select * from w);

-- "public"."Order ""lines""'s": upsert of rows that are likely to be new
with w as (
  insert into "public"."Order ""lines""'s" as t ("no", "code", "tags", "price") overriding system value
  select i.c1, i.c2, i.c3::text[], i.c4::public.euros from unnest($8::numeric[], $9::ext.citext[], $10::text[], $11::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("code", "no") do nothing
  returning t."code", t."no"
), u as (
  update only "public"."Order ""lines""'s" as t set "no" = i.c1, "code" = i.c2, "tags" = i.c3::text[], "price" = i.c4::public.euros
  from unnest($8::numeric[], $9::ext.citext[], $10::text[], $11::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where (select count(*) from w) < $4::int and (i.c2, i.c1) not in (select * from w)
  and t."code" operator(ext.=) any (array[i.c2]) and t."no" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."Order ""lines""''s"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
)
select i.n from unnest($9::ext.citext[], $8::numeric[]) with ordinality as i(c2, c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c2, i.c1) not in (select * from w);

-- "public"."Order ""lines""'s": remove
with d as (
  delete from only "public"."Order ""lines""'s" as t using unnest($5::ext.citext[], $6::numeric[]) with ordinality as i(c1, c2, n)
  where t."code" operator(ext.=) any (array[i.c1]) and t."no" operator(pg_catalog.=) any (array[i.c2]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::ext.citext[], $6::numeric[]) with ordinality as i(c1, c2, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join only "public"."Order ""lines""'s" as t on t."code" operator(ext.=) any (array[i.c1]) and t."no" operator(pg_catalog.=) any (array[i.c2])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::ext.citext[], $6::numeric[]) with ordinality as i(c1, c2, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."Order ""lines""'s": remove all
delete from only "public"."Order ""lines""'s" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."Order ""lines""'s": remaining
select t."code", t."no", lower(t."code"::text collate "default"), trim_scale(t."no")
from only "public"."Order ""lines""'s" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."Order ""lines""'s": has forgotten
select exists (select from only "public"."Order ""lines""'s" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."Order ""lines""'s": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."no", t."code", t."tags", t."price"
from unnest($1::ext.citext[], $2::numeric[]) with ordinality as i(c1, c2, n) join only "public"."Order ""lines""'s" as t on t."code" operator(ext.=) any (array[i.c1]) and t."no" operator(pg_catalog.=) any (array[i.c2])
for no key update of t;

-- "public"."Order ""lines""'s": overwrite
update only "public"."Order ""lines""'s" as t set "no" = $3::numeric, "code" = $4::ext.citext, "tags" = $5::text[], "price" = $6::public.euros
where t."code" operator(ext.=) $1::ext.citext and t."no" operator(pg_catalog.=) $2::numeric;

-- "public"."Order ""lines""'s": overwrite several
update only "public"."Order ""lines""'s" as t set "no" = i.c1, "code" = i.c2, "tags" = i.c3::text[], "price" = i.c4::public.euros
from unnest($1::numeric[], $2::ext.citext[], $3::text[], $4::text[]) with ordinality as i(c1, c2, c3, c4, n)
where t."code" operator(ext.=) any (array[i.c2]) and t."no" operator(pg_catalog.=) any (array[i.c1]);

-- "public"."Order ""lines""'s": insert
insert into "public"."Order ""lines""'s" ("no", "code", "tags", "price") overriding system value
values ($1::numeric, $2::ext.citext, $3::text[], $4::public.euros)
on conflict ("code", "no") do nothing;

-- "public"."Order ""lines""'s": erase
delete from only "public"."Order ""lines""'s" as t where t."code" operator(ext.=) $1::ext.citext and t."no" operator(pg_catalog.=) $2::numeric;

-- "public"."Order ""lines""'s": canonical keys
select lower(i.c1::text collate "default"), trim_scale(i.c2) from unnest($1::ext.citext[], $2::numeric[]) with ordinality as i(c1, c2, n) order by i.n;

-- "public"."events": upsert of all columns
with u as (
  update "public"."events" as t set "note" = i.c3
  from unnest($8::bigint[], $9::date[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."events"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."events"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."events" as t ("id", "at", "note") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::bigint[], $9::date[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."events"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."events"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id", "at") do nothing
  returning t."id", t."at"
)
select i.n from unnest($8::bigint[], $9::date[]) with ordinality as i(c1, c2, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1, i.c2) not in (select * from w);

-- "public"."events": upsert of some columns
with u as (
  update "public"."events" as t set "note" = i.c3
  from unnest($8::bigint[], $9::date[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."events"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."events"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."events" as t ("id", "at", "note") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::bigint[], $9::date[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."events"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."events"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id", "at") do nothing
  returning t."id", t."at"
)
select i.n from unnest($8::bigint[], $9::date[]) with ordinality as i(c1, c2, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1, i.c2) not in (select * from w);

-- "public"."events": upsert of rows that are likely to be new
with w as (
  insert into "public"."events" as t ("id", "at", "note") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::bigint[], $9::date[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."events"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."events"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id", "at") do nothing
  returning t."id", t."at"
), u as (
  update "public"."events" as t set "note" = i.c3
  from unnest($8::bigint[], $9::date[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from w) < $4::int and (i.c1, i.c2) not in (select * from w)
  and t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."events"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."events"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
)
select i.n from unnest($8::bigint[], $9::date[]) with ordinality as i(c1, c2, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1, i.c2) not in (select * from w);

-- "public"."events": remove
with d as (
  delete from "public"."events" as t using unnest($5::bigint[], $6::date[]) with ordinality as i(c1, c2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::bigint[], $6::date[]) with ordinality as i(c1, c2, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join "public"."events" as t on t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::bigint[], $6::date[]) with ordinality as i(c1, c2, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."events": remove all
delete from "public"."events" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."events": remaining
select t."id", t."at"
from "public"."events" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."events": has forgotten
select exists (select from "public"."events" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."events": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."id", t."at", t."note"
from unnest($1::bigint[], $2::date[]) with ordinality as i(c1, c2, n) join "public"."events" as t on t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2])
for no key update of t;

-- "public"."events": overwrite
update "public"."events" as t set "note" = $3::text
where t."id" operator(pg_catalog.=) $1::bigint and t."at" operator(pg_catalog.=) $2::date;

-- "public"."events": overwrite several
update "public"."events" as t set "note" = i.c3
from unnest($1::bigint[], $2::date[], $3::text[]) with ordinality as i(c1, c2, c3, n)
where t."id" operator(pg_catalog.=) any (array[i.c1]) and t."at" operator(pg_catalog.=) any (array[i.c2]);

-- "public"."events": insert
insert into "public"."events" ("id", "at", "note") overriding system value
values ($1::bigint, $2::date, $3::text)
on conflict ("id", "at") do nothing;

-- "public"."events": erase
delete from "public"."events" as t where t."id" operator(pg_catalog.=) $1::bigint and t."at" operator(pg_catalog.=) $2::date;

-- "public"."events": canonical keys
select i.c1, i.c2 from unnest($1::bigint[], $2::date[]) with ordinality as i(c1, c2, n) order by i.n;

-- "public"."pairs": upsert of all columns
with u as (
  update only "public"."pairs" as t set "a" = t."a"
  from unnest($8::integer[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."pairs"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."pairs"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."pairs" as t ("a", "b") overriding system value
  select i.c1, i.c2 from unnest($8::integer[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."pairs"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."pairs"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("a", "b") do nothing
  returning t."a", t."b"
)
select i.n from unnest($8::integer[], $9::integer[]) with ordinality as i(c1, c2, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1, i.c2) not in (select * from w);

-- "public"."pairs": upsert of some columns
with u as (
  update only "public"."pairs" as t set "a" = t."a"
  from unnest($8::integer[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."pairs"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."pairs"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."pairs" as t ("a", "b") overriding system value
  select i.c1, i.c2 from unnest($8::integer[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."pairs"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."pairs"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("a", "b") do nothing
  returning t."a", t."b"
)
select i.n from unnest($8::integer[], $9::integer[]) with ordinality as i(c1, c2, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1, i.c2) not in (select * from w);

-- "public"."pairs": upsert of rows that are likely to be new
with w as (
  insert into "public"."pairs" as t ("a", "b") overriding system value
  select i.c1, i.c2 from unnest($8::integer[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."pairs"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."pairs"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("a", "b") do nothing
  returning t."a", t."b"
), u as (
  update only "public"."pairs" as t set "a" = t."a"
  from unnest($8::integer[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where (select count(*) from w) < $4::int and (i.c1, i.c2) not in (select * from w)
  and t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."pairs"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."pairs"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
)
select i.n from unnest($8::integer[], $9::integer[]) with ordinality as i(c1, c2, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1, i.c2) not in (select * from w);

-- "public"."pairs": remove
with d as (
  delete from only "public"."pairs" as t using unnest($5::integer[], $6::integer[]) with ordinality as i(c1, c2, n)
  where t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::integer[], $6::integer[]) with ordinality as i(c1, c2, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join only "public"."pairs" as t on t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::integer[], $6::integer[]) with ordinality as i(c1, c2, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."pairs": remove all
delete from only "public"."pairs" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."pairs": remaining
select t."a", t."b"
from only "public"."pairs" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."pairs": has forgotten
select exists (select from only "public"."pairs" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."pairs": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."a", t."b"
from unnest($1::integer[], $2::integer[]) with ordinality as i(c1, c2, n) join only "public"."pairs" as t on t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2])
for no key update of t;

-- "public"."pairs": overwrite
update only "public"."pairs" as t set "a" = t."a"
where t."a" operator(pg_catalog.=) $1::integer and t."b" operator(pg_catalog.=) $2::integer;

-- "public"."pairs": overwrite several
update only "public"."pairs" as t set "a" = t."a"
from unnest($1::integer[], $2::integer[]) with ordinality as i(c1, c2, n)
where t."a" operator(pg_catalog.=) any (array[i.c1]) and t."b" operator(pg_catalog.=) any (array[i.c2]);

-- "public"."pairs": insert
insert into "public"."pairs" ("a", "b") overriding system value
values ($1::integer, $2::integer)
on conflict ("a", "b") do nothing;

-- "public"."pairs": erase
delete from only "public"."pairs" as t where t."a" operator(pg_catalog.=) $1::integer and t."b" operator(pg_catalog.=) $2::integer;

-- "public"."pairs": canonical keys
select i.c1, i.c2 from unnest($1::integer[], $2::integer[]) with ordinality as i(c1, c2, n) order by i.n;

-- "public"."counted": upsert of all columns
with u as (
  update only "public"."counted" as t set "v" = i.c3
  from unnest($8::uuid[], $9::bigint[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and t."n" is not distinct from i.c2
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."counted"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."counted"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."counted" as t ("id", "n", "v") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::uuid[], $9::bigint[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."counted"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."counted"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
)
select i.n from unnest($8::uuid[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."counted": upsert of some columns
with u as (
  update only "public"."counted" as t set "v" = i.c2
  from unnest($8::uuid[], $9::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."counted"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."counted"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."counted" as t ("id", "v") overriding system value
  select i.c1, i.c2 from unnest($8::uuid[], $9::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."counted"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."counted"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
)
select i.n from unnest($8::uuid[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."counted": upsert of rows that are likely to be new
with w as (
  insert into "public"."counted" as t ("id", "n", "v") overriding system value
  select i.c1, i.c2, i.c3 from unnest($8::uuid[], $9::bigint[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."counted"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."counted"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
), u as (
  update only "public"."counted" as t set "v" = i.c3
  from unnest($8::uuid[], $9::bigint[], $10::text[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, x1, x2, n)
  where (select count(*) from w) < $4::int and (i.c1) not in (select * from w)
  and t."id" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and t."n" is not distinct from i.c2
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."counted"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."counted"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
)
select i.n from unnest($8::uuid[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."counted": remove
with d as (
  delete from only "public"."counted" as t using unnest($5::uuid[]) with ordinality as i(c1, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::uuid[]) with ordinality as i(c1, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join only "public"."counted" as t on t."id" operator(pg_catalog.=) any (array[i.c1])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::uuid[]) with ordinality as i(c1, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."counted": remove all
delete from only "public"."counted" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."counted": remaining
select t."id"
from only "public"."counted" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."counted": has forgotten
select exists (select from only "public"."counted" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."counted": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."id", t."n", t."v"
from unnest($1::uuid[]) with ordinality as i(c1, n) join only "public"."counted" as t on t."id" operator(pg_catalog.=) any (array[i.c1])
for no key update of t;

-- "public"."counted": overwrite
with d as (delete from only "public"."counted" as t where t."id" operator(pg_catalog.=) $1::uuid returning t.*)
insert into "public"."counted" ("id", "n", "v") overriding system value
select $2::uuid, $3::bigint, $4::text from d;

-- "public"."counted": overwrite several
-- one by one;

-- "public"."counted": insert
insert into "public"."counted" ("id", "n", "v") overriding system value
values ($1::uuid, $2::bigint, $3::text)
on conflict ("id") do nothing;

-- "public"."counted": erase
delete from only "public"."counted" as t where t."id" operator(pg_catalog.=) $1::uuid;

-- "public"."counted": canonical keys
select i.c1 from unnest($1::uuid[]) with ordinality as i(c1, n) order by i.n;

-- "public"."members": upsert of all columns
with u as (
  update only "public"."members" as t set "email" = i.c2, "room" = i.c3, "during" = i.c4
  from unnest($8::bigint[], $9::text[], $10::integer[], $11::tstzrange[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."members"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."members"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."members" as t ("id", "email", "room", "during") overriding system value
  select i.c1, i.c2, i.c3, i.c4 from unnest($8::bigint[], $9::text[], $10::integer[], $11::tstzrange[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."members"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."members"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
)
select i.n from unnest($8::bigint[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."members": upsert of some columns
with u as (
  update only "public"."members" as t set "room" = i.c2
  from unnest($8::bigint[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."members"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."members"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
), w as (
  insert into "public"."members" as t ("id", "room") overriding system value
  select i.c1, i.c2 from unnest($8::bigint[], $9::integer[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."members"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."members"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
)
select i.n from unnest($8::bigint[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."members": upsert of rows that are likely to be new
with w as (
  insert into "public"."members" as t ("id", "email", "room", "during") overriding system value
  select i.c1, i.c2, i.c3, i.c4 from unnest($8::bigint[], $9::text[], $10::integer[], $11::tstzrange[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."members"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."members"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
), u as (
  update only "public"."members" as t set "email" = i.c2, "room" = i.c3, "during" = i.c4
  from unnest($8::bigint[], $9::text[], $10::integer[], $11::tstzrange[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, c2, c3, c4, x1, x2, n)
  where (select count(*) from w) < $4::int and (i.c1) not in (select * from w)
  and t."id" operator(pg_catalog.=) any (array[i.c1])
  and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."members"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."members"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  returning i.n
)
select i.n from unnest($8::bigint[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."members": remove
with d as (
  delete from only "public"."members" as t using unnest($5::bigint[]) with ordinality as i(c1, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::bigint[]) with ordinality as i(c1, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join only "public"."members" as t on t."id" operator(pg_catalog.=) any (array[i.c1])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::bigint[]) with ordinality as i(c1, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."members": remove all
delete from only "public"."members" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."members": remaining
select t."id"
from only "public"."members" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."members": has forgotten
select exists (select from only "public"."members" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."members": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."id", t."email", t."room", t."during"
from unnest($1::bigint[]) with ordinality as i(c1, n) join only "public"."members" as t on t."id" operator(pg_catalog.=) any (array[i.c1])
for no key update of t;

-- "public"."members": overwrite
update only "public"."members" as t set "email" = $2::text, "room" = $3::integer, "during" = $4::tstzrange
where t."id" operator(pg_catalog.=) $1::bigint;

-- "public"."members": overwrite several
update only "public"."members" as t set "email" = i.c2, "room" = i.c3, "during" = i.c4
from unnest($1::bigint[], $2::text[], $3::integer[], $4::tstzrange[]) with ordinality as i(c1, c2, c3, c4, n)
where t."id" operator(pg_catalog.=) any (array[i.c1]);

-- "public"."members": insert
insert into "public"."members" ("id", "email", "room", "during") overriding system value
values ($1::bigint, $2::text, $3::integer, $4::tstzrange)
on conflict ("id") do nothing;

-- "public"."members": erase
delete from only "public"."members" as t where t."id" operator(pg_catalog.=) $1::bigint;

-- "public"."members": canonical keys
select i.c1 from unnest($1::bigint[]) with ordinality as i(c1, n) order by i.n;

-- "public"."members": rivals
select i."syncline n", t."syncline k1"
from (
  select "syncline n", "id" as "syncline k1", handle as "syncline e1", room as "syncline e2"
  from (select *, (lower(email))::text as "handle" from (select i.n as "syncline n", i.c1 as "id", null::text as "email", i.c2 as "room", null::tstzrange as "during" from unnest($1::bigint[], $2::integer[]) with ordinality as i(c1, c2, n)) as g) as i where room > 0 offset 0
) as i join (
  select "id" as "syncline k1", handle as "syncline e1", room as "syncline e2"
  from only "public"."members" where room > 0
) as t on (t."syncline e1" collate pg_catalog."C" operator(pg_catalog.=) any (array[i."syncline e1"]) or (t."syncline e1" is null and i."syncline e1" is null)) and (t."syncline e2" operator(pg_catalog.=) any (array[i."syncline e2"]) or (t."syncline e2" is null and i."syncline e2" is null))
where not (t."syncline k1" operator(pg_catalog.=) i."syncline k1")
union
select i."syncline n", t."syncline k1"
from (
  select "syncline n", "id" as "syncline k1", room as "syncline e1", during as "syncline e2"
  from (select *, (lower(email))::text as "handle" from (select i.n as "syncline n", i.c1 as "id", null::text as "email", i.c2 as "room", null::tstzrange as "during" from unnest($1::bigint[], $2::integer[]) with ordinality as i(c1, c2, n)) as g) as i offset 0
) as i join (
  select "id" as "syncline k1", room as "syncline e1", during as "syncline e2"
  from only "public"."members"
) as t on t."syncline e1" operator(pg_catalog.=) i."syncline e1" and t."syncline e2" operator(pg_catalog.&&) i."syncline e2"
where not (t."syncline k1" operator(pg_catalog.=) i."syncline k1");

-- "public"."numbers": upsert of all columns
with u as (
  select 0::bigint as n where false and ($1::timestamptz, $2::oid[], $3::timestamptz[]) is null
), w as (
  insert into "public"."numbers" as t ("id") overriding system value
  select i.c1 from unnest($8::bigint[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."numbers"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."numbers"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
)
select i.n from unnest($8::bigint[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."numbers": upsert of some columns
with u as (
  select 0::bigint as n where false and ($1::timestamptz, $2::oid[], $3::timestamptz[]) is null
), w as (
  insert into "public"."numbers" as t ("id") overriding system value
  select i.c1 from unnest($8::bigint[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, x1, x2, n)
  where (select count(*) from u) < $4::int and i.n not in (select n from u)
  and not (exists (select from syncline.tombstone d where d.rel = '"public"."numbers"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."numbers"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
)
select i.n from unnest($8::bigint[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."numbers": upsert of rows that are likely to be new
with w as (
  insert into "public"."numbers" as t ("id") overriding system value
  select i.c1 from unnest($8::bigint[], string_to_array($5::text, e'\n'), $6::bigint[]) with ordinality as i(c1, x1, x2, n)
  where not (exists (select from syncline.tombstone d where d.rel = '"public"."numbers"')
    and exists (select from syncline.tombstone d where d.rel = '"public"."numbers"'
      and d.key in (i.x1, '') and (d.hlc, d.origin) > (i.x2, $7::text)))
  on conflict ("id") do nothing
  returning t."id"
), u as (
  select 0::bigint as n where false and ($1::timestamptz, $2::oid[], $3::timestamptz[]) is null
)
select i.n from unnest($8::bigint[]) with ordinality as i(c1, n)
where (select count(*) from u) + (select count(*) from w) < $4::int
  and i.n not in (select n from u) and (i.c1) not in (select * from w);

-- "public"."numbers": remove
with d as (
  delete from only "public"."numbers" as t using unnest($5::bigint[]) with ordinality as i(c1, n)
  where t."id" operator(pg_catalog.=) any (array[i.c1]) and (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)])
  returning i.n
), k as (
  select i.n from (
    select i.* from unnest($5::bigint[]) with ordinality as i(c1, n)
    where (select count(*) from d) < $4::int and i.n not in (select n from d) offset 0
  ) as i join only "public"."numbers" as t on t."id" operator(pg_catalog.=) any (array[i.c1])
  for key share of t
)
select i.n, i.n in (select n from k) from unnest($5::bigint[]) with ordinality as i(c1, n)
where (select count(*) from d) < $4::int and i.n not in (select n from d);

-- "public"."numbers": remove all
delete from only "public"."numbers" as t where (pg_xact_commit_timestamp(t.xmin) <= $1::timestamptz
    or t.xmin = pg_current_xact_id()::xid
    or coalesce((pg_xact_commit_timestamp_origin(t.xmin))."timestamp", '-infinity') <= ($3::timestamptz[])[coalesce(array_position($2::oid[], (pg_xact_commit_timestamp_origin(t.xmin)).roident), 1)]);

-- "public"."numbers": remaining
select t."id"
from only "public"."numbers" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where not coalesce((pg_xact_commit_timestamp_origin(t.xmin)).roident = 0 and (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" > $1::timestamptz, false) or coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $2::pg_snapshot), false);

-- "public"."numbers": has forgotten
select exists (select from only "public"."numbers" as t
  cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest) as n
where (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" is null and not t.xmin = pg_current_xact_id()::xid and not coalesce(pg_visible_in_snapshot(
    (n.newest - ((n.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, $1::pg_snapshot), false));

-- "public"."numbers": inspect
select i.n, t.xmin, case when (pg_xact_commit_timestamp_origin(t.xmin))."timestamp" between '1970-01-01' and '9999-01-01'
    then (extract(epoch from (pg_xact_commit_timestamp_origin(t.xmin))."timestamp") * 1000000)::bigint end, (pg_xact_commit_timestamp_origin(t.xmin)).roident, t.xmin = pg_current_xact_id()::xid,
  t."id"
from unnest($1::bigint[]) with ordinality as i(c1, n) join only "public"."numbers" as t on t."id" operator(pg_catalog.=) any (array[i.c1])
for no key update of t;

-- "public"."numbers": overwrite
with d as (delete from only "public"."numbers" as t where t."id" operator(pg_catalog.=) $1::bigint returning t.*)
insert into "public"."numbers" ("id") overriding system value
select $2::bigint from d;

-- "public"."numbers": overwrite several
-- one by one;

-- "public"."numbers": insert
insert into "public"."numbers" ("id") overriding system value
values ($1::bigint)
on conflict ("id") do nothing;

-- "public"."numbers": erase
delete from only "public"."numbers" as t where t."id" operator(pg_catalog.=) $1::bigint;

-- "public"."numbers": canonical keys
select i.c1 from unnest($1::bigint[]) with ordinality as i(c1, n) order by i.n;
