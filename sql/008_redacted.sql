-- Columns whose values a record withholds: an image has the marker in their place, which a value could look like.
alter table syncline.conflict_log
  add column redacted text[] not null default '{}';
