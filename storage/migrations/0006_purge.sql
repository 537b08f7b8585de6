-- Many messages deleted by one event of the log: what migration 0004 does for one, for all that it names.

CREATE FUNCTION log_purge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seqs bigint[];
BEGIN
    IF NEW.data IS NULL OR left(NEW.data, 1) <> '{' OR json_typeof(NEW.data::json -> 'seqs') <> 'array' THEN
        RETURN NULL;
    END IF;
    -- What comes later in the log is not meant, also where the same statement writes it.
    seqs := ARRAY(
        SELECT value::bigint FROM json_array_elements_text(NEW.data::json -> 'seqs')
        WHERE value::bigint < NEW.seq
    );
    INSERT INTO message_facts AS f (room_id, seq, delete_seq)
    SELECT NEW.room_id, purged.seq, NEW.seq FROM unnest(seqs) AS purged (seq)
    ON CONFLICT (room_id, seq) DO UPDATE SET delete_seq = EXCLUDED.delete_seq, pin_seq = NULL
    WHERE f.delete_seq IS NULL;
    DELETE FROM reactions WHERE room_id = NEW.room_id AND of_seq = ANY (seqs);
    DELETE FROM reaction_counts WHERE room_id = NEW.room_id AND of_seq = ANY (seqs);
    UPDATE log SET body = NULL
    WHERE room_id = NEW.room_id AND body IS NOT NULL AND seq = ANY (
        seqs || ARRAY(SELECT seq FROM message_edits WHERE room_id = NEW.room_id AND of_seq = ANY (seqs))
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER log_purge AFTER INSERT ON log FOR EACH ROW
WHEN (NEW.kind = 'purge')
EXECUTE FUNCTION log_purge();
