-- Orphans stand in the conflict log too: which foreign key they break, and of which table they name no row.
alter table syncline.conflict_log
  add column constraint_name text,
  add column parent_table text;
