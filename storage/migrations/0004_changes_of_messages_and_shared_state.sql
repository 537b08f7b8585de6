-- What follows from a room's log and is read without folding it: the present of its messages, who reacted,
-- what is pinned, and the shared state.
--
-- A trigger writes all of it, in the statement that writes the log's rows: so it can neither be forgotten by
-- one of the ways in which a batch is written, nor be written for a row that became void, nor twice for a row
-- that is sent again. A plain message does not pass the trigger's condition, which costs it nothing that can
-- be measured, and a change costs no round trip more than a message.

-- A thread's page. Only messages of threads are in it.
CREATE INDEX log_thread ON log (room_id, thread, seq) WHERE thread IS NOT NULL;

-- One row for each message that was edited, deleted, pinned or answered in a thread; the seqs are those of the
-- events. There are no foreign keys, as in the log.
CREATE TABLE message_facts (
    room_id      bigint NOT NULL,
    seq          bigint NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    edit_seq     bigint,
    delete_seq   bigint,
    pin_seq      bigint,
    thread_count bigint NOT NULL DEFAULT 0,
    thread_last  bigint,
    PRIMARY KEY (room_id, seq)
);

-- The list of pins, the latest first.
CREATE INDEX message_facts_pins ON message_facts (room_id, pin_seq) WHERE pin_seq IS NOT NULL;

-- Which edits a message had: their texts go with it.
CREATE TABLE message_edits (
    room_id bigint NOT NULL,
    of_seq  bigint NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (room_id, of_seq, seq)
);

CREATE TABLE reactions (
    room_id   bigint NOT NULL,
    of_seq    bigint NOT NULL,
    seq       bigint NOT NULL,
    emoji     text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    user_name text NOT NULL,
    PRIMARY KEY (room_id, of_seq, emoji, user_id)
);

-- Counted here, because ten thousand may react to one message, and a page of history shows a hundred.
CREATE TABLE reaction_counts (
    room_id   bigint NOT NULL,
    of_seq    bigint NOT NULL,
    first_seq bigint NOT NULL,
    count     bigint NOT NULL,
    emoji     text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, of_seq, emoji)
);

-- The value as JSON text. The row of the empty key has no value: its version is the highest that a removed key
-- had, so that none comes twice.
CREATE TABLE room_state (
    room_id bigint NOT NULL,
    version bigint NOT NULL,
    seq     bigint NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   text,
    PRIMARY KEY (room_id, key)
);

CREATE FUNCTION log_project() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fields  json;
    target  bigint;
    removes boolean;
BEGIN
    IF NEW.kind = 'message' THEN
        INSERT INTO message_facts AS f (room_id, seq, thread_count, thread_last)
        VALUES (NEW.room_id, NEW.thread, 1, NEW.seq)
        ON CONFLICT (room_id, seq) DO UPDATE SET thread_count = f.thread_count + 1, thread_last = NEW.seq;
        RETURN NULL;
    END IF;
    -- An event that does not say what it is about is in the log, and about nothing.
    IF NEW.data IS NULL OR left(NEW.data, 1) <> '{' THEN
        RETURN NULL;
    END IF;
    fields := NEW.data::json;
    IF NEW.kind = 'state' THEN
        IF fields ->> 'key' IS NULL OR fields ->> 'version' IS NULL THEN
            RETURN NULL;
        END IF;
        IF fields ->> 'value' IS NULL THEN
            DELETE FROM room_state WHERE room_id = NEW.room_id AND key = fields ->> 'key';
            INSERT INTO room_state AS s (room_id, version, seq, key)
            VALUES (NEW.room_id, (fields ->> 'version')::bigint, NEW.seq, '')
            ON CONFLICT (room_id, key)
            DO UPDATE SET version = greatest(s.version, EXCLUDED.version), seq = NEW.seq;
        ELSE
            INSERT INTO room_state (room_id, version, seq, key, value)
            VALUES (
                NEW.room_id, (fields ->> 'version')::bigint, NEW.seq, fields ->> 'key', (fields -> 'value')::text
            )
            ON CONFLICT (room_id, key)
            DO UPDATE SET version = EXCLUDED.version, seq = EXCLUDED.seq, value = EXCLUDED.value;
        END IF;
        RETURN NULL;
    END IF;
    target := (fields ->> 'of')::bigint;
    removes := coalesce((fields ->> 'remove')::boolean, false);
    IF target IS NULL OR target < 1 OR (NEW.kind = 'edit' AND fields ->> 'version' IS NULL)
        OR (NEW.kind = 'react' AND fields ->> 'emoji' IS NULL)
    THEN
        RETURN NULL;
    END IF;
    CASE NEW.kind
        WHEN 'edit' THEN
            INSERT INTO message_edits (room_id, of_seq, seq) VALUES (NEW.room_id, target, NEW.seq);
            INSERT INTO message_facts (room_id, seq, version, edit_seq)
            VALUES (NEW.room_id, target, (fields ->> 'version')::bigint, NEW.seq)
            ON CONFLICT (room_id, seq) DO UPDATE SET version = EXCLUDED.version, edit_seq = EXCLUDED.edit_seq;
        WHEN 'delete' THEN
            INSERT INTO message_facts (room_id, seq, delete_seq) VALUES (NEW.room_id, target, NEW.seq)
            ON CONFLICT (room_id, seq) DO UPDATE SET delete_seq = EXCLUDED.delete_seq, pin_seq = NULL;
            DELETE FROM reactions WHERE room_id = NEW.room_id AND of_seq = target;
            DELETE FROM reaction_counts WHERE room_id = NEW.room_id AND of_seq = target;
            UPDATE log SET body = NULL
            WHERE room_id = NEW.room_id AND seq = ANY (
                target || ARRAY(SELECT seq FROM message_edits WHERE room_id = NEW.room_id AND of_seq = target)
            );
        WHEN 'pin' THEN
            INSERT INTO message_facts (room_id, seq, pin_seq)
            VALUES (NEW.room_id, target, CASE WHEN removes THEN NULL ELSE NEW.seq END)
            ON CONFLICT (room_id, seq) DO UPDATE SET pin_seq = EXCLUDED.pin_seq;
        WHEN 'react' THEN
            IF removes THEN
                DELETE FROM reactions
                WHERE room_id = NEW.room_id AND of_seq = target AND emoji = fields ->> 'emoji'
                    AND user_id = NEW.author;
                IF FOUND THEN
                    UPDATE reaction_counts SET count = count - 1
                    WHERE room_id = NEW.room_id AND of_seq = target AND emoji = fields ->> 'emoji';
                    DELETE FROM reaction_counts
                    WHERE room_id = NEW.room_id AND of_seq = target AND emoji = fields ->> 'emoji'
                        AND count <= 0;
                END IF;
            ELSE
                INSERT INTO reactions (room_id, of_seq, seq, emoji, user_id, user_name)
                VALUES (NEW.room_id, target, NEW.seq, fields ->> 'emoji', NEW.author, NEW.author_name)
                ON CONFLICT (room_id, of_seq, emoji, user_id) DO NOTHING;
                IF FOUND THEN
                    INSERT INTO reaction_counts AS c (room_id, of_seq, first_seq, count, emoji)
                    VALUES (NEW.room_id, target, NEW.seq, 1, fields ->> 'emoji')
                    ON CONFLICT (room_id, of_seq, emoji) DO UPDATE SET count = c.count + 1;
                END IF;
            END IF;
    END CASE;
    RETURN NULL;
END
$$;

CREATE TRIGGER log_project AFTER INSERT ON log FOR EACH ROW
WHEN (
    NEW.kind IN ('edit', 'delete', 'react', 'pin', 'state')
    OR (NEW.kind = 'message' AND NEW.thread IS NOT NULL)
)
EXECUTE FUNCTION log_project();
