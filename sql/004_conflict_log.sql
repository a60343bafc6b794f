-- The conflict log becomes final: how far it is settled, why a record is not, and indexes for its readers.

-- Why a record is provisional still: 'images' are yet to be read from the log; 'forgotten' events, which
-- were too many to keep or are gone from the log, leave it so for good.
alter table syncline.conflict_log add column provisional_reason text
  check (provisional_reason in ('images', 'forgotten'));

-- One row: losses of events stamped below `undecided_from` are settled, those of events below `lost_below` may
-- never be told. Streams are read back from `offsets` after a restart.
create table syncline.conflict_horizon (
  only_row       boolean primary key default true check (only_row),
  undecided_from bigint not null,
  lost_below     bigint not null,
  offsets        jsonb not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

drop index syncline.conflict_log_winner_hlc_idx;
create index on syncline.conflict_log (loser_hlc) where provisional;

-- Each filter of the list reads its newest records in order.
create index on syncline.conflict_log (table_name, resolved_at, conflict_id);
create index on syncline.conflict_log (loser_origin, resolved_at, conflict_id);
create index on syncline.conflict_log (winner_origin, resolved_at, conflict_id);
create index on syncline.conflict_log (resolution_strategy, resolved_at, conflict_id);
create index on syncline.conflict_log (provisional, resolved_at, conflict_id);
-- By equality, and of any length.
create index on syncline.conflict_log using hash (row_pk);
