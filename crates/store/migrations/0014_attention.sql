-- The console counts on every page what needs a person: slots that were missed are few among those that fired.
create index slots_missed on slots (schedule_id, slot_at) where status = 'missed';
create index agents_unapproved on agents (company_id) where state = 'pending_approval';
