-- Values that agents are given and nobody is shown. They are sealed before they come here: this
-- table, its backups and its logs hold nothing that can be read without the master key.
create table secrets (
  company_id text not null,
  name text not null,
  -- Nonce and ciphertext, Base64.
  sealed text not null,
  -- Which master key sealed it: the beginning of its SHA-256.
  key_id text not null,
  created_at bigint not null,
  updated_at bigint not null,
  primary key (company_id, name)
);

-- How long a live run has been silent, in the steps that something was done about: 0 for not long.
alter table runs add column silence_tier bigint not null default 0;
