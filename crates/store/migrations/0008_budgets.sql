-- What may be spent, and what has been in the window that is open.
create table budgets (
  id text primary key,
  company_id text not null,
  scope text not null,
  -- The agent, task or schedule; empty for a company.
  scope_id text not null,
  period text not null,
  metric text not null,
  most bigint not null,
  reserve bigint not null,
  spent bigint not null,
  period_starts_at bigint not null,
  period_ends_at bigint,
  -- How far people have been told.
  told text not null,
  -- When it has to be looked at: it has crossed a line, it holds something back, or its window ends.
  due_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create unique index budgets_of on budgets (company_id, scope, scope_id, period, metric);
create index budgets_due on budgets (due_at) where due_at is not null;

-- The budget that keeps new runs back, if one does.
alter table companies add column budget_id text;
alter table agents add column budget_id text;
alter table lanes add column budget_id text;
create index companies_budget on companies (budget_id) where budget_id is not null;
create index agents_budget on agents (budget_id) where budget_id is not null;
create index lanes_budget on lanes (budget_id) where budget_id is not null;

-- Which schedule has made a task.
create index slots_task on slots (task_id) where task_id is not null;
