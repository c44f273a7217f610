-- Tasks in full, projects, goals, worktrees; guards against loops and failing lanes; what tells the operator.

alter table companies add column max_runs_per_root_hour bigint not null default 100;
-- Tasks ever made, closed ones included: the number of the next key.
alter table companies add column tasks_made bigint not null default 0;

-- When the session of a lane is rotated.
alter table agents add column session text not null default '{}';

alter table tasks add column key text not null default '';
alter table tasks add column priority text not null default 'medium';
alter table tasks add column goal_id text;
alter table tasks add column project_id text;
alter table tasks add column parent_id text;
alter table tasks add column wake_parent text not null default 'each';
alter table tasks add column due_at bigint;
alter table tasks add column labels text not null default '[]';
alter table tasks add column reward bigint;
alter table tasks add column adapter_overrides text;
alter table tasks add column workspace text not null default '{}';
alter table tasks add column closed_at bigint;
update tasks set key = id;
create unique index tasks_key on tasks (company_id, key);
create index tasks_held on tasks (held_by_run) where held_by_run is not null;
create index tasks_parent on tasks (parent_id) where parent_id is not null;
create index tasks_assignee on tasks (assignee_id) where assignee_id is not null;
create index tasks_status on tasks (company_id, status, id);
create index tasks_goal on tasks (goal_id) where goal_id is not null;
create index tasks_project on tasks (project_id) where project_id is not null;
create index runs_task on runs (task_id, id) where task_id <> '';

-- A task waits for its blockers.
create table task_blockers (
  task_id text not null,
  blocker_id text not null,
  primary key (task_id, blocker_id)
);
create index task_blockers_blocker on task_blockers (blocker_id);

create table comments (
  id text primary key,
  company_id text not null,
  task_id text not null,
  actor_type text not null,
  actor_id text not null,
  run_id text,
  body text not null,
  created_at bigint not null
);
create index comments_task on comments (task_id, id);

create table goals (
  id text primary key,
  company_id text not null,
  parent_id text,
  title text not null,
  description text,
  created_at bigint not null,
  updated_at bigint not null
);
create index goals_company on goals (company_id, id);

create table projects (
  id text primary key,
  company_id text not null,
  name text not null,
  -- [{cwd?, repo_url?, repo_ref?}] in the order of their making.
  workspaces text not null,
  created_at bigint not null,
  updated_at bigint not null
);
create index projects_company on projects (company_id, id);

-- Git worktrees made for lanes. One that is neither clean nor merged nor pushed is kept and listed.
create table worktrees (
  agent_id text not null,
  task_id text not null,
  company_id text not null,
  repository text not null,
  path text not null,
  branch text not null,
  base text not null,
  -- active, kept or removed
  state text not null,
  state_reason text,
  created_at bigint not null,
  updated_at bigint not null,
  primary key (agent_id, task_id)
);
create index worktrees_company on worktrees (company_id, task_id, agent_id);
-- Those that may have to be removed.
create index worktrees_there on worktrees (task_id) where state <> 'removed';

-- Why the session is not to be resumed; the row stays until another takes its place, so that the next run can say it.
alter table sessions add column ended_because text;

-- Times of the failures in a row, at most as many as open the circuit, oldest first.
alter table lanes add column failed_at text not null default '[]';
-- Since when nothing starts on the lane, because too many of its runs failed.
alter table lanes add column circuit_opened_at bigint;
create index lanes_circuit on lanes (agent_id) where circuit_opened_at is not null;

-- Of equal ranks the older id goes first, on both engines.
drop index companies_ready;
create index companies_ready on companies (live_runs, ready_rank, id) where ready_rank is not null;
drop index agents_ready;
create index agents_ready on agents (company_id, ready_rank, id) where ready_rank is not null;
drop index lanes_ready;
create index lanes_ready on lanes (agent_id, ready_rank, task_id) where ready_rank is not null;

-- When a pending wakeup becomes eligible: when it is due or, for timers, when the agent's active hours begin.
alter table wakeups add column eligible_at bigint not null default 0;
update wakeups set eligible_at = due_at;
drop index wakeups_not_due;
create index wakeups_not_due on wakeups (eligible_at) where status = 'pending' and eligible = 0;
-- Serves the one row that counts the timers a live run has satisfied.
create index wakeups_coalesced on wakeups (run_id) where status = 'coalesced';

-- The task was given to another agent while the run was live.
alter table runs add column is_reassigned bigint not null default 0;

-- Runs started for what other runs caused, by the root of the chain; kept for the hour that is counted.
create table root_runs (
  root_id text not null,
  run_id text not null,
  at bigint not null,
  primary key (root_id, run_id)
);
create index root_runs_at on root_runs (at);
create index root_runs_run on root_runs (run_id);

-- What a person has to know or decide. One that is open stands for all of the same key.
create table escalations (
  id text primary key,
  company_id text not null,
  kind text not null,
  severity text not null,
  key text not null,
  -- The id of what it is about.
  subject text not null,
  title text not null,
  detail text not null,
  actor_type text not null,
  actor_id text not null,
  count bigint not null,
  status text not null,
  raised_at bigint not null,
  last_at bigint not null,
  acked_at bigint,
  acked_by text,
  resolved_at bigint,
  resolved_by text
);
create index escalations_company on escalations (company_id, id);
create index escalations_status on escalations (company_id, status, id);
create unique index escalations_open on escalations (company_id, key) where status <> 'resolved';
