-- Ends of children's runs that their parents were not told, since what the runs had is to be tried again. If that is
-- called off or expires, they are told after all.
create table late_ends (
  run_id text primary key,
  agent_id text not null,
  task_id text not null,
  -- 1: something that was to be tried again will not be.
  is_due bigint not null
);
create index late_ends_due on late_ends (run_id) where is_due = 1;
create index late_ends_task on late_ends (task_id);
create index late_ends_agent on late_ends (agent_id);
