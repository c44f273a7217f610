-- What wakes an agent or makes a task by the clock.
create table schedules (
  id text primary key,
  company_id text not null,
  name text not null,
  trigger_json text not null,
  target text not null,
  -- The agent that the target wakes or assigns to, if one.
  agent_id text,
  active_hours text,
  -- Milliseconds.
  jitter_ms bigint not null,
  overlap text not null,
  catch_up text not null,
  stale_after_ms bigint,
  starts_at bigint,
  ends_at bigint,
  max_fires bigint,
  fires bigint not null,
  state text not null,
  state_note text,
  -- Every slot up to here has its row.
  last_slot bigint,
  -- The nominal time of the slot to come; null if there is none.
  next_slot_at bigint,
  -- The same with jitter: when the dispatcher looks; null unless it is active.
  due_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create unique index schedules_name on schedules (company_id, name);
create index schedules_company on schedules (company_id, id);
create index schedules_due on schedules (due_at) where due_at is not null;
create index schedules_agent on schedules (agent_id) where agent_id is not null;

-- The ledger: one row for each slot, or for a row of missed ones. The key makes firing exactly-once.
create table slots (
  schedule_id text not null,
  slot_at bigint not null,
  -- The last nominal time that the row stands for, and how many it stands for.
  last_at bigint not null,
  count bigint not null,
  status text not null,
  reason text,
  wakeup_id text,
  task_id text,
  at bigint not null,
  primary key (schedule_id, slot_at)
);
-- What a schedule has woken, newest first: whether an earlier fire is live.
create index slots_wakeup on slots (schedule_id, slot_at) where wakeup_id is not null;
