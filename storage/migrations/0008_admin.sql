-- What the server's people ask: who of them there is, and what somebody may not do in all rooms.

CREATE INDEX users_by_role ON users (role, id) WHERE role <> 'user';
CREATE INDEX sanctions_by_user ON sanctions (user_id, room_id, kind);
