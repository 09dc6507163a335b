-- Version 3: people.

-- Local users.
CREATE TABLE user (
    name        TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 128),
    role        TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    is_disabled INTEGER NOT NULL CHECK (is_disabled IN (0, 1)),
    -- What argon2id (RFC 9106) made of the password, and from what and how.
    salt        BLOB NOT NULL CHECK (length(salt) = 16),
    hash        BLOB NOT NULL CHECK (length(hash) = 32),
    memory_kib  INTEGER NOT NULL,
    passes      INTEGER NOT NULL,
    lanes       INTEGER NOT NULL,
    made_ms     INTEGER NOT NULL,
    -- Since when the password is this one.
    password_ms INTEGER NOT NULL,
    -- When a session of theirs last began.
    login_ms    INTEGER
) STRICT, WITHOUT ROWID;

-- Who is logged in, and where.
CREATE TABLE session (
    -- SHA-256 of what the browser has.
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    user       TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    begun_ms   INTEGER NOT NULL,
    -- When it was last used, to the minute.
    used_ms    INTEGER NOT NULL,
    -- When it ends, however much it is used.
    expires_ms INTEGER NOT NULL,
    -- From where it began, and by what: a password, or a link.
    source     TEXT NOT NULL,
    method     TEXT NOT NULL CHECK (method IN ('password', 'link'))
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user);
CREATE INDEX session_used ON session (used_ms);

-- What begins one session without a password, once.
CREATE TABLE login_link (
    -- SHA-256 of what the link has.
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    user       TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_link_user ON login_link (user);

-- Tokens with which programs ask in the name of a user.
CREATE TABLE user_token (
    -- SHA-256 of the token.
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    user       TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    name       TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- At most this; never more than the user's own.
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    made_ms    INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER,
    UNIQUE (user, name)
) STRICT, WITHOUT ROWID;
