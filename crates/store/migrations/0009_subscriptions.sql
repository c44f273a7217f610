create table subscriptions_placeholder (id text primary key);
