-- Rooms that are closed for good and stay readable, how long rooms keep what is said in them, and what is done to
-- accounts and to the server itself, which is in the audit of the server's room as all else is.

ALTER TABLE rooms ADD COLUMN archived boolean NOT NULL DEFAULT false;
-- Seconds; NULL: for ever. Up to retained_seq nothing is left that is too old (chat/retention.py).
ALTER TABLE rooms ADD COLUMN retention_s bigint;
ALTER TABLE rooms ADD COLUMN retained_seq bigint NOT NULL DEFAULT 0;

DROP INDEX rooms_public;
CREATE INDEX rooms_public ON rooms (name) WHERE kind = 'public' AND NOT archived;
CREATE INDEX rooms_retained ON rooms (id) WHERE retention_s IS NOT NULL;

-- As in migration 0005, with two settings and one kind of event more.
CREATE OR REPLACE FUNCTION log_govern() RETURNS trigger LANGUAGE plpgsql AS $$
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
                locked = coalesce((fields ->> 'locked')::boolean, locked),
                archived = coalesce((fields ->> 'archived')::boolean, archived),
                retention_s = nullif(coalesce((fields ->> 'retention')::bigint, retention_s), 0)
            WHERE id = NEW.room_id;
        WHEN 'delete' THEN
            action := 'delete';
            SELECT author INTO target FROM log
            WHERE room_id = NEW.room_id AND seq = (fields ->> 'of')::bigint;
        WHEN 'purge', 'announce' THEN
            action := NEW.kind;
        WHEN 'act' THEN
            IF action IS NULL THEN
                RETURN NULL;
            END IF;
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
    -- A role that somebody gives up counts, too, what is purged of one's own, and what one does to one's account.
    IF target IS DISTINCT FROM NEW.author OR NEW.kind IN ('role', 'purge', 'act') THEN
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

DROP TRIGGER log_govern ON log;
CREATE TRIGGER log_govern AFTER INSERT ON log FOR EACH ROW
WHEN (NEW.kind IN ('member', 'role', 'sanction', 'room', 'delete', 'purge', 'announce', 'act'))
EXECUTE FUNCTION log_govern();
