-- Rooms, their logs, members and accounts.
--
-- Times are milliseconds since 1970 UTC, as on the wire. Whatever is sorted or continued from a key compares
-- by code point (COLLATE "C"): the same on every machine, and the same as the in-memory double.

CREATE TABLE rooms (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch         bigint NOT NULL DEFAULT 0,
    created_at_ms bigint NOT NULL,
    slow_s        double precision NOT NULL,
    strict        boolean NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    name          text COLLATE "C" NOT NULL UNIQUE,
    topic         text NOT NULL,
    created_by    text COLLATE "C" NOT NULL
);

-- The list of public rooms, by name.
CREATE INDEX rooms_public ON rooms (name) WHERE kind = 'public';

-- The room's one log. Append-only: a deletion is another event, and erasing a text empties a column but keeps
-- the row, because the row holds the idempotency key of its message for ever. There is no foreign key to
-- rooms: its trigger would cost more than the insert, and every append locks and checks the room's row anyway.
-- Both unique indexes begin with room_id, so that the table may be partitioned by room without losing either.
-- Fixed-width columns come first: no padding between them.
CREATE TABLE log (
    room_id     bigint NOT NULL,
    seq         bigint NOT NULL,
    epoch       bigint NOT NULL,
    at_ms       bigint NOT NULL,
    n           bigint NOT NULL,
    reply_to    bigint,
    thread      bigint,
    kind        text NOT NULL,
    author      text COLLATE "C" NOT NULL,
    author_name text NOT NULL,
    cid         text COLLATE "C",
    body        text,
    data        text,
    PRIMARY KEY (room_id, seq)
);

-- The idempotency key: a (room, sender, cid) is stored once, whoever sends it again and however late.
CREATE UNIQUE INDEX log_cid ON log (room_id, author, cid) WHERE cid IS NOT NULL;

-- Where the log stood when each epoch began. An epoch that wrote nothing is replaced by the next one.
CREATE TABLE room_epochs (
    room_id     bigint NOT NULL REFERENCES rooms (id),
    epoch       bigint NOT NULL,
    head_seq    bigint NOT NULL,
    began_at_ms bigint NOT NULL,
    PRIMARY KEY (room_id, epoch)
);

-- One row per member and room. room_name is a copy, so that a user's rooms can be read by name from one index.
CREATE TABLE members (
    room_id      bigint NOT NULL REFERENCES rooms (id),
    joined_at_ms bigint NOT NULL,
    read_seq     bigint NOT NULL,
    read_n       bigint NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('owner', 'moderator', 'member')),
    room_name    text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

CREATE INDEX members_by_user ON members (user_id, room_name);

-- Rows that the database refused, with its reason; their seq is void in the log. The entry is escaped ASCII,
-- so that it can be kept whatever it holds.
CREATE TABLE parked (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id bigint NOT NULL,
    seq     bigint,
    entry   text NOT NULL,
    error   text NOT NULL,
    UNIQUE (room_id, seq)
);

CREATE TABLE users (
    id            text COLLATE "C" PRIMARY KEY,
    name          text COLLATE "C" NOT NULL UNIQUE,
    role          text NOT NULL,
    created_at_ms bigint NOT NULL
);

-- Only the hash of a token is kept.
CREATE TABLE tokens (
    hash          bytea PRIMARY KEY,
    user_id       text COLLATE "C" NOT NULL REFERENCES users (id),
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint,
    revoked_at_ms bigint
);

-- A user's tokens, to revoke them together.
CREATE INDEX tokens_by_user ON tokens (user_id);

CREATE TABLE secrets (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
