-- What is unread: how many messages after the read pointer are not one's own, and how many of them mention one.

-- With the authors, so that one's own messages after a pointer are counted without a look at the table. An index
-- by author would give them without the others in between, at a quarter of the price of every append (ADR 12).
ALTER TABLE log DROP CONSTRAINT log_pkey;
ALTER TABLE log ADD PRIMARY KEY (room_id, seq) INCLUDE (author, kind);

-- One row for each member whom a message mentions by its present text. A message to `@here` mentions everybody,
-- so it has one row alone, with the empty user. Nobody is mentioned by himself. There are no foreign keys, as in
-- the log.
CREATE TABLE mentions (
    room_id bigint NOT NULL,
    seq     bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    author  text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, seq, user_id)
);

CREATE INDEX mentions_of_user ON mentions (room_id, user_id, seq) INCLUDE (author);

-- Whom the data of a message, or of an edit, mentions.
CREATE FUNCTION mentions_in(fields json, author text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT '' WHERE fields ->> 'here' = 'true'
    UNION
    SELECT user_id
    FROM json_array_elements_text(
        CASE WHEN json_typeof(fields -> 'mentions') = 'array' THEN fields -> 'mentions' ELSE '[]' END
    ) AS named (user_id)
    WHERE fields ->> 'here' IS DISTINCT FROM 'true' AND user_id <> author
$$;

-- A trigger, for the reasons of log_project, and beside it: a message without data, which is nearly every one,
-- passes the condition of neither.
CREATE FUNCTION log_mentions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fields json;
    target bigint;
BEGIN
    -- An event that does not say what it is about is about nothing, as for log_project.
    IF NEW.data IS NULL OR left(NEW.data, 1) <> '{' THEN
        RETURN NULL;
    END IF;
    fields := NEW.data::json;
    IF NEW.kind = 'purge' THEN
        IF json_typeof(fields -> 'seqs') = 'array' THEN
            DELETE FROM mentions WHERE room_id = NEW.room_id AND seq = ANY (
                ARRAY(
                    SELECT value::bigint FROM json_array_elements_text(fields -> 'seqs')
                    WHERE value::bigint < NEW.seq
                )
            );
        END IF;
        RETURN NULL;
    END IF;
    IF NEW.kind = 'message' THEN
        target := NEW.seq;
    ELSE
        target := (fields ->> 'of')::bigint;
        IF target IS NULL OR target < 1 OR (NEW.kind = 'edit' AND fields ->> 'version' IS NULL) THEN
            RETURN NULL;
        END IF;
        DELETE FROM mentions WHERE room_id = NEW.room_id AND seq = target;
    END IF;
    IF NEW.kind <> 'delete' THEN
        INSERT INTO mentions (room_id, seq, user_id, author)
        SELECT NEW.room_id, target, user_id, NEW.author FROM mentions_in(fields, NEW.author) AS found (user_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER log_mentions AFTER INSERT ON log FOR EACH ROW
WHEN (NEW.kind IN ('edit', 'delete', 'purge') OR (NEW.kind = 'message' AND NEW.data IS NOT NULL))
EXECUTE FUNCTION log_mentions();

-- What was said before: by the last edit where there is one, nothing of what was deleted.
INSERT INTO mentions (room_id, seq, user_id, author)
SELECT m.room_id, m.seq, found.user_id, m.author
FROM log m
LEFT JOIN message_facts f ON f.room_id = m.room_id AND f.seq = m.seq
LEFT JOIN log e ON e.room_id = f.room_id AND e.seq = f.edit_seq
CROSS JOIN LATERAL (SELECT CASE WHEN f.edit_seq IS NULL THEN m.data ELSE e.data END AS data) AS present
CROSS JOIN LATERAL mentions_in(
    CASE WHEN left(present.data, 1) = '{' THEN present.data::json ELSE '{}' END, m.author
) AS found (user_id)
WHERE m.kind = 'message' AND f.delete_seq IS NULL AND present.data IS NOT NULL;
