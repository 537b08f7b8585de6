-- The reports that somebody has made, for themselves to follow: those that wait, and all.

CREATE INDEX reports_waiting_of_reporter ON reports (reporter, id)
WHERE kind = 'person' AND state IN ('open', 'claimed');
CREATE INDEX reports_of_reporter ON reports (reporter, id) WHERE kind = 'person';
