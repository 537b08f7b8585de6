-- Accounts: passwords, names that are unique whatever their capitals, revocation, users of outside issuers.

-- name_key is what names are compared by (chat.names makes it); a password is kept as argon2's encoded hash.
-- Tokens that an outside issuer made before revoked_before_ms are not taken any more.
ALTER TABLE users
    ADD COLUMN name_key          text COLLATE "C",
    ADD COLUMN password          text,
    ADD COLUMN revoked_before_ms bigint;

-- Users from before have tokens and no password. Where two differ in capitals only, the first keeps the key
-- and the others have none: they go on with their tokens and are found by their exact name. Capitals outside of
-- ASCII are folded when a password is set.
UPDATE users u SET name_key = first.name_key
FROM (
    SELECT DISTINCT ON (lower(name COLLATE "C")) id, lower(name COLLATE "C") AS name_key
    FROM users
    ORDER BY lower(name COLLATE "C"), created_at_ms, id
) first
WHERE u.id = first.id;

CREATE UNIQUE INDEX users_by_name_key ON users (name_key);

-- What was revoked, in the order of the commits (who revokes holds a lock on the table), so that a server finds
-- with one look from its last id on what it has to end. A row without a hash is about a user's tokens of an
-- outside issuer. Rows are kept for some days.
CREATE TABLE revocations (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms      bigint NOT NULL,
    token_hash bytea,
    user_id    text COLLATE "C" NOT NULL
);

CREATE INDEX revocations_by_time ON revocations (at_ms);
