-- Who may be where: what governs a room is in its log, and follows from it: the room's settings, its members,
-- their roles, sanctions, and the audit of all that was done to others.
--
-- A trigger writes it, in the statement that writes the log's rows, as in migration 0004 and for the same
-- reasons. Joining and leaving a public room is no event of the log and is written beside it (storage/append.py).

-- Names that are the server's own from here on (chat/direct_rooms.py); rooms that have them get others.
UPDATE rooms SET name = left('renamed-' || id || '.' || name, 64) WHERE name LIKE 'dm.%' OR name LIKE 'sys.%';
UPDATE members m SET room_name = r.name FROM rooms r WHERE r.id = m.room_id AND m.room_name <> r.name;

-- Nobody below a moderator writes in a locked room.
ALTER TABLE rooms ADD COLUMN locked boolean NOT NULL DEFAULT false;

-- One row a user and kind; an end in the past counts no more. seq is that of the event.
CREATE TABLE sanctions (
    room_id  bigint NOT NULL,
    seq      bigint NOT NULL,
    until_ms bigint,
    user_id  text COLLATE "C" NOT NULL,
    kind     text COLLATE "C" NOT NULL CHECK (kind IN ('ban', 'mute')),
    name     text NOT NULL,
    reason   text,
    PRIMARY KEY (room_id, user_id, kind)
);

-- One row an act of somebody upon somebody else, or upon the room; never changed. Each row's hash covers its own
-- fields and the hash of the row before it in its room: what is changed or removed afterwards shows
-- (storage/audit.py has the rule).
CREATE TABLE audit (
    room_id    bigint NOT NULL,
    seq        bigint NOT NULL,
    at_ms      bigint NOT NULL,
    actor      text COLLATE "C" NOT NULL,
    actor_name text NOT NULL,
    action     text NOT NULL,
    target     text COLLATE "C",
    reason     text,
    detail     text,
    hash       bytea NOT NULL,
    PRIMARY KEY (room_id, seq)
);

-- What was done to somebody.
CREATE INDEX audit_by_target ON audit (target, at_ms) WHERE target IS NOT NULL;
-- What somebody did.
CREATE INDEX audit_by_actor ON audit (actor, at_ms);
-- What was done lately, in all rooms.
CREATE INDEX audit_by_time ON audit (at_ms, room_id, seq);

-- A field as the hash takes it in: its length in bytes and its text, so that no two rows read alike.
CREATE FUNCTION audit_field(field text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(octet_length(convert_to(field, 'UTF8')) || ':' || field, '-')
$$;

CREATE FUNCTION log_govern() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fields json;
    action text;
    target text;
    reason text;
    before bytea;
BEGIN
    -- An event that does not say what it is about is in the log, and about nothing.
    IF NEW.data IS NULL OR left(NEW.data, 1) <> '{' THEN
        RETURN NULL;
    END IF;
    fields := NEW.data::json;
    action := fields ->> 'action';
    target := fields ->> 'user';
    reason := fields ->> 'reason';
    CASE NEW.kind
        WHEN 'room' THEN
            action := 'update';
            UPDATE rooms SET
                topic = coalesce(fields ->> 'topic', topic),
                slow_s = coalesce((fields ->> 'slow')::double precision, slow_s),
                locked = coalesce((fields ->> 'locked')::boolean, locked)
            WHERE id = NEW.room_id;
        WHEN 'delete' THEN
            action := 'delete';
            SELECT author INTO target FROM log
            WHERE room_id = NEW.room_id AND seq = (fields ->> 'of')::bigint;
        WHEN 'purge', 'announce' THEN
            action := NEW.kind;
        ELSE
            IF target IS NULL THEN
                RETURN NULL;
            END IF;
            CASE NEW.kind
                WHEN 'member' THEN
                    IF fields ->> 'role' IS NULL THEN
                        DELETE FROM members WHERE room_id = NEW.room_id AND user_id = target;
                    ELSE
                        INSERT INTO members
                            (room_id, user_id, name, role, joined_at_ms, read_seq, read_n, room_name)
                        SELECT NEW.room_id, target, fields ->> 'name', fields ->> 'role', NEW.at_ms, NEW.seq,
                            NEW.n, r.name
                        FROM rooms r WHERE r.id = NEW.room_id
                        ON CONFLICT (room_id, user_id) DO NOTHING;
                    END IF;
                WHEN 'role' THEN
                    action := 'role';
                    UPDATE members SET role = fields ->> 'role'
                    WHERE room_id = NEW.room_id AND user_id = target;
                WHEN 'sanction' THEN
                    IF action IN ('unban', 'unmute') THEN
                        DELETE FROM sanctions
                        WHERE room_id = NEW.room_id AND user_id = target AND kind = substr(action, 3);
                    ELSE
                        INSERT INTO sanctions (room_id, seq, until_ms, user_id, kind, name, reason)
                        VALUES (
                            NEW.room_id, NEW.seq, (fields ->> 'until')::bigint, target, action, fields ->> 'name',
                            reason
                        )
                        ON CONFLICT (room_id, user_id, kind)
                        DO UPDATE SET seq = EXCLUDED.seq, until_ms = EXCLUDED.until_ms, name = EXCLUDED.name,
                            reason = EXCLUDED.reason;
                        IF action = 'ban' THEN
                            DELETE FROM members WHERE room_id = NEW.room_id AND user_id = target;
                        END IF;
                    END IF;
            END CASE;
    END CASE;
    -- A role that somebody gives up counts, too, and what is purged of one's own.
    IF target IS DISTINCT FROM NEW.author OR NEW.kind IN ('role', 'purge') THEN
        SELECT hash INTO before FROM audit WHERE room_id = NEW.room_id ORDER BY seq DESC LIMIT 1;
        INSERT INTO audit
            (room_id, seq, at_ms, actor, actor_name, action, target, reason, detail, hash)
        VALUES (
            NEW.room_id, NEW.seq, NEW.at_ms, NEW.author, NEW.author_name, action, target, reason, NEW.data,
            sha256(coalesce(before, ''::bytea) || convert_to(
                audit_field(NEW.room_id::text) || audit_field(NEW.seq::text) || audit_field(NEW.at_ms::text)
                || audit_field(NEW.author) || audit_field(NEW.author_name) || audit_field(action)
                || audit_field(target) || audit_field(reason) || audit_field(NEW.data), 'UTF8'
            ))
        );
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER log_govern AFTER INSERT ON log FOR EACH ROW
WHEN (NEW.kind IN ('member', 'role', 'sanction', 'room', 'delete', 'purge', 'announce'))
EXECUTE FUNCTION log_govern();
