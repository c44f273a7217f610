-- What a console asks of many runs at once: what they were started by, and what those that ended have used.

-- Of the wakeup that leads a run's batch: its source, and the schedule whose slot made it.
alter table runs add column lead_source text;
alter table runs add column schedule_id text;

update runs
set lead_source = wakeups.source
from batches
join wakeups on wakeups.id = batches.wakeup_id
where batches.run_id = runs.id
  and batches.lead = 1;

update runs
set schedule_id = slots.schedule_id
from slots
join batches on batches.wakeup_id = slots.wakeup_id and batches.lead = 1
where batches.run_id = runs.id
  and slots.status = 'fired'
  and slots.wakeup_id is not null;

create index runs_source on runs (company_id, lead_source, id);

-- Lists by a status that few rows have: without these they look at every row. What is live has an
-- index of its own.
create index runs_unsuccessful on runs (company_id, status, id)
  where status = 'failed' or status = 'cancelled' or status = 'timed_out' or status = 'lost';
create index wakeups_company on wakeups (company_id, id);
drop index wakeups_dead_letters;
create index wakeups_dead_letters on wakeups (company_id, status, id) where status = 'failed';
create index wakeups_unusual on wakeups (company_id, status, id)
  where status = 'pending' or status = 'cancelled' or status = 'skipped' or status = 'coalesced' or status = 'expired';

-- Costs and timelines are answered from this alone.
drop index runs_finished;
create index runs_ended on runs (company_id, finished_at, created_at, started_at, agent_id, task_id, schedule_id,
  input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micros) where finished_at is not null;

create index tokens_company on tokens (company_id, id) where company_id is not null and revoked_at is null;
-- What somebody does is recorded under the name of the token: two of one name could not be told apart.
create unique index tokens_name on tokens (company_id, name) where company_id is not null and revoked_at is null;

-- Sessions of the console whose viewers have signed out: until then their cookies would be good.
create table ended_sessions (
  id text primary key,
  until bigint not null
);

-- Somebody has seen what failed for good, and leaves it at that.
alter table wakeups add column acknowledged_at bigint;
alter table deliveries add column acknowledged_at bigint;
