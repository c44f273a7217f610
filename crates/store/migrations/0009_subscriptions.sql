-- Who asked to be woken about what. An ended one stays readable.
create table subscriptions (
  id text primary key,
  company_id text not null,
  agent_id text not null,
  -- The task of the lane that is woken; empty for the agent's own.
  task_id text not null,
  -- kind:id, as run:run_…
  source text not null,
  -- What of the source, JSON list.
  events text not null,
  -- JSON object of equalities on the event's data.
  filter text not null,
  -- Of one equality of the filter, so that an event looks up those that can match; 0 if there is none to look up.
  filter_hash bigint not null,
  once bigint not null,
  debounce_ms bigint,
  timeout_ms bigint,
  include_result bigint not null,
  payload text not null,
  key text,
  created_by_type text not null,
  created_by_id text not null,
  -- The run that asked, whose chain of causes a timeout goes on.
  by_run text,
  matches bigint not null,
  wakeups bigint not null,
  last_match_at bigint,
  -- The window of a debounce that is open: since when, how much is in it, and when it closes.
  window_since bigint,
  window_bytes bigint not null,
  window_at bigint,
  timeout_at bigint,
  -- The earlier of the two: when the dispatcher has to look.
  due_at bigint,
  created_at bigint not null,
  updated_at bigint not null,
  ended_at bigint,
  end_reason text
);
create index subscriptions_source on subscriptions (company_id, source, filter_hash, id) where ended_at is null;
create unique index subscriptions_key on subscriptions (agent_id, key) where key is not null and ended_at is null;
create index subscriptions_open on subscriptions (agent_id) where ended_at is null;
create index subscriptions_newest on subscriptions (company_id, source, id) where ended_at is null;
create index subscriptions_task on subscriptions (task_id, id) where ended_at is null;
create index subscriptions_agent on subscriptions (agent_id, id);
create index subscriptions_company on subscriptions (company_id, id);
create index subscriptions_due on subscriptions (due_at) where due_at is not null;
create index subscriptions_ended on subscriptions (ended_at) where ended_at is not null;

-- What an open window holds, in order.
create table subscription_matches (
  subscription_id text not null,
  number bigint not null,
  -- What happened, so that it stands here once.
  event_key text not null,
  run_id text,
  what text not null,
  match text not null,
  primary key (subscription_id, number)
);
create unique index subscription_matches_once on subscription_matches (subscription_id, event_key);

-- How many of a company are open: there is a limit.
alter table companies add column open_subscriptions bigint not null default 0;

-- Where others tell Wakeful what happens.
create table webhooks (
  id text primary key,
  company_id text not null,
  name text not null,
  scheme text not null,
  -- Nonce and ciphertext, and the master key that sealed it.
  sealed text not null,
  key_id text not null,
  -- The secret before, which works until then.
  old_sealed text,
  old_key_id text,
  old_until bigint,
  -- Who is woken for whatever is told, if anyone.
  agent_id text,
  task_id text not null,
  received bigint not null,
  refused bigint not null,
  last_received_at bigint,
  last_refused_at bigint,
  -- How far its pace is used up.
  paced_until bigint not null,
  created_at bigint not null,
  updated_at bigint not null
);
create unique index webhooks_name on webhooks (company_id, name);
create index webhooks_company on webhooks (company_id, id);

-- What was told through them: the newest, each with what came of it.
create table webhook_receipts (
  id text primary key,
  company_id text not null,
  webhook_id text not null,
  -- What the caller calls it; null if nothing, or if it came again.
  delivery_key text,
  status text not null,
  event text,
  matched bigint not null,
  wakeup_id text,
  -- The first that this one repeats, or the one that was asked for again.
  repeats text,
  bytes bigint not null,
  -- JSON; null once many newer ones have come.
  data text,
  at bigint not null
);
create unique index webhook_receipts_once on webhook_receipts (webhook_id, delivery_key) where delivery_key is not null;
create index webhook_receipts_newest on webhook_receipts (webhook_id, id);
