-- What people are told: the inbox of a company.
create table notifications (
  id text primary key,
  company_id text not null,
  at bigint not null,
  kind text not null,
  level text not null,
  -- What makes a second one be about the same; null if it is never the same.
  cause text,
  title text not null,
  text text not null,
  metadata text not null,
  agent_id text,
  run_id text,
  schedule_id text,
  -- How often the same came again and was not told.
  repeats bigint not null,
  read_at bigint
);
create index notifications_company on notifications (company_id, id);
create index notifications_cause on notifications (company_id, cause, id) where cause is not null;
create index notifications_unread on notifications (company_id, id) where read_at is null;

-- Where notifications go besides the inbox.
create table channels (
  id text primary key,
  company_id text not null,
  name text not null,
  target text not null,
  filter text not null,
  state text not null,
  state_reason text,
  -- How far its pace is used up.
  paced_until bigint not null,
  -- When somebody has to look at its deliveries; null if none waits and none is made.
  due_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create unique index channels_name on channels (company_id, name);
create index channels_company on channels (company_id, id);
create index channels_due on channels (due_at) where due_at is not null;

-- Each notification on its way through each channel that it goes through.
create table deliveries (
  id text primary key,
  company_id text not null,
  channel_id text not null,
  notification_id text not null,
  status text not null,
  -- Since it was made, or asked for again. It rises with each claim, and what comes of an attempt names it.
  attempts bigint not null,
  log text not null,
  -- When the next attempt is due; while one is made, when it is given up.
  due_at bigint,
  created_at bigint not null,
  finished_at bigint
);
create unique index deliveries_once on deliveries (notification_id, channel_id);
create index deliveries_company on deliveries (company_id, id);
create index deliveries_status on deliveries (company_id, status, id);
create index deliveries_channel on deliveries (channel_id, id);
create index deliveries_due on deliveries (channel_id, status, due_at, id) where due_at is not null;

-- People are reminded of escalations that nobody has seen.
alter table escalations add column remind_at bigint;
alter table escalations add column reminders bigint not null default 0;
create index escalations_remind on escalations (remind_at) where remind_at is not null;
