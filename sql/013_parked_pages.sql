-- The order in which parked rows are looked through, the highest version first: a page begins where the one before it ended.
drop index if exists syncline.parked_rel_hlc_origin_key_idx;
create index if not exists parked_pages on syncline.parked (rel, hlc desc, origin desc, key);
