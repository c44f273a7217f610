-- What is asked before a slot fires, what actions keep, and how a schedule stands.
alter table schedules add column gate text;
-- What the gate and the action gave to be given to them again.
alter table schedules add column gate_state text;
alter table schedules add column action_state text;
-- How often nobody was woken because there was nothing to do.
alter table schedules add column wakes_avoided bigint not null default 0;
alter table schedules add column failures_in_row bigint not null default 0;
alter table schedules add column last_error text;

-- What a gate or an action has said about the slot.
alter table slots add column answer text;
-- Of a slot that is being asked: until then whoever asks is left alone.
alter table slots add column asked_until bigint;
create index slots_asked on slots (asked_until) where status = 'asked';
create index slots_asked_of on slots (schedule_id, slot_at) where status = 'asked';

-- What a schedule has woken, and what it has counted, newest first, however many slots came to nothing in between.
create index slots_fired on slots (schedule_id, slot_at) where status = 'fired' and wakeup_id is not null;
create index slots_coalesced on slots (wakeup_id) where status = 'coalesced' and wakeup_id is not null;

-- What an action has told people about, so that it is not told again.
create table reported (
  schedule_id text not null,
  key text not null,
  at bigint not null,
  primary key (schedule_id, key)
);

-- What was closed and what ended since the last summary; what nobody has.
create index tasks_closed on tasks (company_id, closed_at) where closed_at is not null;
create index tasks_assigned on tasks (company_id, assignee_id, status) where assignee_id is not null;
create index tasks_free on tasks (company_id, id) where assignee_id is null and status = 'todo';
create index runs_finished on runs (company_id, finished_at) where finished_at is not null;
-- A result that was handed in and found wanting.
alter table tasks add column rejected_at bigint;
