-- What people and the server itself bring before the moderators: reports, and messages that wait to be looked at;
-- and the rules by which the server does so.
--
-- Neither follows from the log: a report is no event that everybody sees, and a message that is held is none yet.

-- The latest versions of each room's rules, so that who changed what can be told. Room 0: those of every room.
CREATE TABLE automod_rules (
    room_id     bigint NOT NULL,
    version     bigint NOT NULL,
    at_ms       bigint NOT NULL,
    author      text COLLATE "C" NOT NULL,
    author_name text NOT NULL,
    rules       text NOT NULL,
    PRIMARY KEY (room_id, version)
);

-- The room's name never changes. seq is that of the message, of one that is held when it was let in. body is the
-- text of a held message, and is emptied when that is decided; what is in the log is read there.
CREATE TABLE reports (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id       bigint NOT NULL,
    seq           bigint,
    at_ms         bigint NOT NULL,
    changed_at_ms bigint NOT NULL,
    reply_to      bigint,
    thread        bigint,
    kind          text COLLATE "C" NOT NULL CHECK (kind IN ('person', 'automod', 'held')),
    state         text COLLATE "C" NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'claimed', 'resolved', 'dismissed', 'approved', 'rejected')),
    room          text COLLATE "C" NOT NULL,
    reporter      text COLLATE "C" NOT NULL,
    reporter_name text NOT NULL,
    author        text COLLATE "C" NOT NULL,
    author_name   text NOT NULL,
    reason        text NOT NULL,
    rule          text,
    cid           text COLLATE "C",
    body          text,
    holder        text COLLATE "C",
    holder_name   text,
    note          text,
    audit         text
);

-- One that is not closed, a user and message.
CREATE UNIQUE INDEX reports_waiting_of_message ON reports (room_id, seq, reporter)
WHERE state IN ('open', 'claimed') AND seq IS NOT NULL;
-- A message that is sent again is held once, and stays decided.
CREATE UNIQUE INDEX reports_held ON reports (room_id, author, cid) WHERE kind = 'held';
-- The queue of a room and of the server, and all that was ever in them.
CREATE INDEX reports_waiting_in_room ON reports (room_id, id) WHERE state IN ('open', 'claimed');
CREATE INDEX reports_waiting ON reports (id) WHERE state IN ('open', 'claimed');
CREATE INDEX reports_in_room ON reports (room_id, id);
