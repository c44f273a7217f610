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
