-- What is kept for how long.

-- A pinned run stays, with its events, its wakeups and its log.
alter table runs add column pinned_at bigint;
-- When the body of its log was removed; what the row says of it stays.
alter table runs add column log_removed_at bigint;
-- Those that still have one.
create index runs_with_log on runs (id) where log_removed_at is null and finished_at is not null;

-- Runs whose rows are gone and whose directories are about to be.
create table removed_runs (
  run_id text primary key
);

-- What keeps an old run or wakeup.
create index wakeups_cause on wakeups (cause_id) where status in ('pending', 'claimed') and cause_id is not null;
create index subscriptions_by_run on subscriptions (by_run) where by_run is not null and ended_at is null;
create index escalations_subject on escalations (subject) where status <> 'resolved';

-- Keys of requests by age.
create index request_keys_at on request_keys (created_at);
