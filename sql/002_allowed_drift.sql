-- How far ahead of the local clock the events of a link may be: what an operator allows beyond the agent's own limit.
alter table syncline.link add column allow_drift_ms bigint;
