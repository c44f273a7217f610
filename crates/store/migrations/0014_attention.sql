-- The console counts on every page what needs a person: slots that were missed are few among those that fired.
create index slots_missed on slots (schedule_id, slot_at) where status = 'missed';
