-- Mail; what waits for a task's next assignee; how a run has closed its own task.

create table messages (
  id text primary key,
  company_id text not null,
  from_type text not null,
  from_id text not null,
  from_run text,
  -- Null: people.
  to_agent text,
  subject text not null,
  body text not null,
  -- The first message of the thread, itself included.
  thread_id text not null,
  kind text not null,
  task_id text,
  wakeup_id text,
  created_at bigint not null,
  acked_at bigint,
  acked_by_run text,
  -- When a nudge ended with its run, unread.
  lapsed_at bigint
);
create index messages_company on messages (company_id, id);
create index messages_agent on messages (to_agent, id) where to_agent is not null;
create index messages_from on messages (from_id, id);
create index messages_unread on messages (company_id, to_agent, id) where acked_at is null and lapsed_at is null;
create index messages_thread on messages (thread_id, id);
create index messages_wakeup on messages (wakeup_id) where wakeup_id is not null;
create index messages_acked_by on messages (acked_by_run) where acked_by_run is not null;

-- Wakes about tasks that nobody is assigned to: issued to the next assignee.
create table kept_wakes (
  id text primary key,
  company_id text not null,
  task_id text not null,
  wake text not null
);
create index kept_wakes_task on kept_wakes (task_id, id);

-- `closed` or `all_closed` (the last of its parent's children): its parent is told at its end.
alter table runs add column closed_task text;
