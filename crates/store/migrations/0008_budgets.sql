drop index slots_wakeup;
