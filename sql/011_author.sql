-- Whose events a transaction of the lane applied, where it cannot write under a replication origin: what
-- pg_xact_commit_timestamp_origin tells of it otherwise. Kept until a tuple of it may count as a local write of its commit time.
create table syncline.author (
  xid       xid8 primary key,
  -- As tuples show it.
  tuple_xid xid not null,
  origin    text collate "C" not null,
  -- The highest stamp of its events, which no row of it is above.
  stamp     timestamptz not null,
  -- Above the commits of all transactions of the lane before it.
  lsn       pg_lsn not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index on syncline.author using hash (tuple_xid);
create index on syncline.author (lsn);
create index on syncline.author (stamp);

-- A signature is asked for by the versions of rows that wait.
create index on syncline.parked (hlc);
create index on syncline.look_again (hlc) where restores is not null;
create index on syncline.quarantine (hlc);

-- Signs the transaction: for whoever decodes it, with a word that nobody else can say of it, and for whoever reads its rows.
create function syncline.sign(origin text, stamp timestamptz) returns void language plpgsql as $$
declare
  id constant xid8 := pg_current_xact_id();
  secret text;
begin
  select value into strict secret from syncline.meta where key = 'decision_secret';
  perform pg_logical_emit_message(true, 'syncline.applied',
    encode(sha256(convert_to(secret || ':' || (id::xid)::text, 'UTF8')), 'hex'));
  insert into syncline.author (xid, tuple_xid, origin, stamp, lsn)
  values (id, id::xid, origin, stamp, pg_current_wal_insert_lsn());
end $$;
