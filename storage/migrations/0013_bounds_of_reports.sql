-- Bounds of what waits for moderators, whoever files it: twenty reports of one message as it reads, since those after
-- them say nothing new; and a thousand of each kind in a room, so that neither spam that is held nor what rules note
-- keeps people from reporting.

CREATE INDEX reports_waiting_of_kind ON reports (room_id, kind) WHERE state IN ('open', 'claimed');

-- Copies of texts that grow old while nobody closes their reports.
CREATE INDEX reports_copies ON reports (at_ms)
WHERE state IN ('open', 'claimed') AND kind <> 'held' AND body IS NOT NULL;

-- For each row, also of those that one statement files: it sees the rows before it. What is too much is left out. Two
-- statements at once do not see each other, and may file a few more. The numbers: storage/review_model.py.
CREATE FUNCTION reports_bound() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq IS NOT NULL AND (
        SELECT count(*) FROM (
            SELECT FROM reports
            WHERE room_id = NEW.room_id AND seq = NEW.seq AND state IN ('open', 'claimed')
                AND body IS NOT DISTINCT FROM NEW.body
            LIMIT 20
        ) AS waiting
    ) >= 20 THEN
        RETURN NULL;
    END IF;
    IF (
        SELECT count(*) FROM (
            SELECT FROM reports
            WHERE room_id = NEW.room_id AND kind = NEW.kind AND state IN ('open', 'claimed')
            LIMIT 1000
        ) AS waiting
    ) >= 1000 THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER reports_bound BEFORE INSERT ON reports FOR EACH ROW EXECUTE FUNCTION reports_bound();
