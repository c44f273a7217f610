-- One text for both engines. Columns are text, bigint, double precision and blobs only; times are
-- microseconds since 1970 given by the caller. A line that ends in `-- sqlite` or `-- postgres`
-- stands for that engine alone.

create table meta (
  key text primary key,
  value text not null
);

create table companies (
  id text primary key,
  slug text not null unique,
  name text not null,
  time_zone text not null,
  max_concurrent_runs bigint not null,
  state text not null,
  state_reason text,
  live_runs bigint not null default 0,
  -- Hot index, upper level: rank of the best agent that may start; null if none may.
  ready_rank bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create index companies_ready on companies (live_runs, ready_rank) where ready_rank is not null;

create table agents (
  id text primary key,
  company_id text not null references companies (id),
  name text not null,
  title text,
  adapter text not null,
  adapter_type text not null,
  account text not null,
  capabilities text not null,
  heartbeat text not null,
  max_concurrent_runs bigint not null,
  retry text not null,
  limits text not null,
  state text not null,
  state_reason text,
  quota_until bigint,
  live_runs bigint not null default 0,
  -- Hot index, middle level: rank of the best lane that may start; null if none may.
  ready_rank bigint,
  runs_total bigint not null default 0,
  tokens_total bigint not null default 0,
  cost_micros_total bigint not null default 0,
  created_at bigint not null,
  updated_at bigint not null,
  deleted_at bigint
);
create unique index agents_name on agents (company_id, name) where deleted_at is null;
create index agents_ready on agents (company_id, ready_rank) where ready_rank is not null;
create index agents_parked on agents (quota_until) where quota_until is not null;

create table tasks (
  id text primary key,
  company_id text not null references companies (id),
  title text not null,
  description text,
  status text not null,
  assignee_id text,
  held_by_run text,
  created_at bigint not null,
  updated_at bigint not null
);
create index tasks_company on tasks (company_id, id);

-- A lane is (agent, task); the empty task is the agent's own lane.
create table lanes (
  agent_id text not null,
  task_id text not null,
  company_id text not null,
  fence bigint not null default 0,
  live_run_id text,
  failures bigint not null default 0,
  -- Hot index, lowest level: rank of the best wakeup that may start now; null if none may.
  ready_rank bigint,
  primary key (agent_id, task_id)
);
create index lanes_ready on lanes (agent_id, ready_rank) where ready_rank is not null;
create index lanes_task on lanes (task_id) where task_id <> '';

create table wakeups (
  id text primary key,
  company_id text not null,
  agent_id text not null,
  task_id text not null,
  source text not null,
  trigger_detail text,
  reason text,
  count bigint not null,
  priority bigint not null,
  payload text not null,
  context text not null,
  actor_type text not null,
  actor_id text not null,
  idempotency_key text,
  request_hash text,
  cause_id text,
  root_id text not null,
  depth bigint not null,
  requested_at bigint not null,
  due_at bigint not null,
  expires_at bigint,
  status text not null,
  status_reason text,
  run_id text,
  lead bigint not null default 0,
  attempt bigint not null default 0,
  max_attempts bigint not null,
  error_code text,
  error text,
  finished_at bigint,
  -- due_at + (100 - priority) * 36 s: what orders ready lanes.
  rank bigint not null,
  -- 1 once it is due: only such wakeups stand in the hot index.
  eligible bigint not null
);
-- Serves the lane's best due wakeup (eligible = 1, by rank) and all that waits for an agent.
create index wakeups_pending on wakeups (agent_id, task_id, eligible, rank) where status = 'pending';
create index wakeups_not_due on wakeups (due_at) where status = 'pending' and eligible = 0;
create index wakeups_expiry on wakeups (expires_at) where status = 'pending' and expires_at is not null;
create index wakeups_claimed on wakeups (run_id) where status = 'claimed';
create index wakeups_agent on wakeups (agent_id, id);
create index wakeups_dead_letters on wakeups (company_id, id) where status = 'failed';
create unique index wakeups_key on wakeups (company_id, idempotency_key) where idempotency_key is not null;

create table runs (
  id text primary key,
  company_id text not null,
  agent_id text not null,
  task_id text not null,
  adapter text not null,
  fence bigint not null,
  status text not null,
  error_code text,
  error text,
  exit_code bigint,
  signal bigint,
  session_before text,
  session_after text,
  session_choice text,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cache_read_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  cost_micros bigint,
  model text,
  provider text,
  billing text,
  summary text,
  result text,
  stop text,
  workspace text,
  process text,
  last_output_at bigint,
  last_event_at bigint,
  log_bytes bigint not null default 0,
  log_lines bigint not null default 0,
  log_sha256 text,
  log_truncated bigint not null default 0,
  created_at bigint not null,
  started_at bigint,
  finished_at bigint,
  event_seq bigint not null default 0,
  -- The number of the log record up to which the agent's output has become events.
  read_seq bigint not null default 0,
  -- SHA-256 of the run's token, which is good while the run is live.
  token_hash text
);
create index runs_agent on runs (agent_id, id);
create index runs_company on runs (company_id, id);
create index runs_live on runs (id) where status in ('starting', 'running');
create unique index runs_token on runs (token_hash) where token_hash is not null;

-- Which wakeups a run has had, for ever: a wakeup that is tried again moves on to the next run.
create table batches (
  run_id text not null,
  wakeup_id text not null,
  lead bigint not null,
  primary key (run_id, wakeup_id)
);
create index batches_wakeup on batches (wakeup_id);

create table run_events (
  run_id text not null,
  seq bigint not null,
  at bigint not null,
  type text not null,
  level text not null,
  message text not null,
  data text not null,
  primary key (run_id, seq)
);

create table events (
  seq integer primary key autoincrement, -- sqlite
  seq bigserial primary key, -- postgres
  -- Cursors go by (txid, seq), and readers stay below the oldest open transaction: a row that commits
  -- late is never behind a cursor. SQLite has one writer, there it is always 0.
  txid bigint not null default 0, -- sqlite
  txid bigint not null default (pg_current_xact_id()::text::bigint), -- postgres
  company_id text not null,
  at bigint not null,
  type text not null,
  subject text not null,
  data text not null
);
create index events_company on events (company_id, txid, seq); -- postgres
create index events_subject on events (subject);

create table sessions (
  agent_id text not null,
  adapter text not null,
  task_id text not null,
  params text not null,
  display_id text not null,
  last_run_id text not null,
  last_error text,
  turns bigint not null,
  tokens bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  primary key (agent_id, adapter, task_id)
);

create table checkpoints (
  run_id text primary key,
  agent_id text not null,
  task_id text not null,
  body text not null,
  updated_at bigint not null
);
create index checkpoints_lane on checkpoints (agent_id, task_id, updated_at);

create table tokens (
  id text primary key,
  hash text not null unique,
  name text not null,
  kind text not null,
  company_id text,
  agent_id text,
  role text not null,
  created_at bigint not null,
  revoked_at bigint
);

-- Idempotency-Key of requests that create something other than a wakeup.
create table request_keys (
  company_id text not null,
  key text not null,
  request_hash text not null,
  resource_id text not null,
  created_at bigint not null,
  primary key (company_id, key)
);
