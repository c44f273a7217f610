-- What a configuration has made, and as what: so that applying it again changes what has changed in it and
-- nothing else, and takes away only what it made.
create table declarations (
  company_id text not null,
  kind text not null,
  name text not null,
  -- What the configuration calls itself.
  configuration text not null,
  -- The id of what was made.
  object_id text not null,
  -- As it was declared, JSON.
  spec text not null,
  at bigint not null,
  primary key (company_id, kind, name)
);
