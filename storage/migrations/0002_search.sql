-- Full-text search: a projection of the log's messages, filled after commit by a worker.

-- The language whose rules turn a room's texts into words (storage/search_model.py has the list), and whether
-- the room was activated since somebody last saw all of its log indexed: that is where a start looks.
ALTER TABLE rooms
    ADD COLUMN language text NOT NULL DEFAULT 'simple',
    ADD COLUMN search_due boolean NOT NULL DEFAULT true;

CREATE INDEX rooms_search_due ON rooms (id) WHERE search_due;

-- Which languages are in use, found by skipping from one to the next.
CREATE INDEX rooms_language ON rooms (language);

-- How far each room's log is indexed, written with the rows; at_ms is the time of the event at indexed_seq.
CREATE TABLE search_positions (
    room_id     bigint PRIMARY KEY REFERENCES rooms (id),
    indexed_seq bigint NOT NULL,
    at_ms       bigint NOT NULL
);

-- The time of the newest event that is indexed.
CREATE INDEX search_positions_newest ON search_positions (at_ms);

-- One row a message that can be found. Its words, and besides them tags: its room, its language and the spans of
-- time it lies in (storage/search_tags.py), so that one index answers "this word, in this room, lately" without
-- reading all that has the word. The text itself stays in the log, at text_seq: the message, or its last edit.
CREATE TABLE search_messages (
    room_id  bigint NOT NULL,
    seq      bigint NOT NULL,
    at_ms    bigint NOT NULL,
    text_seq bigint NOT NULL,
    tsv      tsvector NOT NULL,
    PRIMARY KEY (room_id, seq)
);

-- Without a pending list: searches would read it from end to end, and the worker has the time.
CREATE INDEX search_messages_tsv ON search_messages USING gin (tsv) WITH (fastupdate = off);
