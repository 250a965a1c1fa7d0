BEGIN;
-- Two that start at the same moment take turns.
SELECT pg_advisory_xact_lock(hashtext('jobber_reviewd.definition'));

CREATE SCHEMA IF NOT EXISTS jobber_reviewd;

CREATE TABLE IF NOT EXISTS jobber_reviewd.entries (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
);

-- One row: who works with the store, and until when by the server's clock.
CREATE TABLE IF NOT EXISTS jobber_reviewd.lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    owner text NOT NULL,
    -- The server's process for the holder's connection.
    backend integer NOT NULL,
    fence bigint NOT NULL,
    until timestamptz NOT NULL
);

-- What a daemon that stands by was asked, for the one that works. A crash of the server empties both tables.
CREATE UNLOGGED TABLE IF NOT EXISTS jobber_reviewd.calls (
    id bigint PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The fence of the lease under which it is answered.
    taken bigint,
    -- With which others it was taken.
    batch bigint,
    sealed bytea NOT NULL
);

CREATE INDEX IF NOT EXISTS calls_not_taken ON jobber_reviewd.calls (at) WHERE taken IS NULL;

CREATE UNLOGGED TABLE IF NOT EXISTS jobber_reviewd.answers (
    call bigint NOT NULL REFERENCES jobber_reviewd.calls ON DELETE CASCADE,
    part integer NOT NULL,
    is_last boolean NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (call, part)
);

-- A value is a byte for its version, then JSON. The text of this server has no character zero: it is left out.
CREATE OR REPLACE FUNCTION jobber_reviewd.content(value bytea) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT regexp_replace(
        convert_from(substring(value FROM 2), 'UTF8'), '(?<!\\)((\\\\)*)\\u0000', '\1', 'g')::jsonb $$;

-- The first part of a key after its family.
CREATE OR REPLACE FUNCTION jobber_reviewd.first_part(key bytea, family integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT convert_from(
        substring(key FROM family + 1 FOR position('\x00'::bytea IN substring(key FROM family + 1)) - 1), 'UTF8') $$;

CREATE OR REPLACE VIEW jobber_reviewd.accounts WITH (security_barrier) AS
    SELECT content ->> 'id' AS id,
        content ->> 'name' AS name,
        content ->> 'label' AS label,
        content ->> 'trigger' AS trigger,
        content -> 'connection' ->> 'state' AS state,
        (content ->> 'connected_at')::timestamptz AS connected_at,
        (content ->> 'paused_at')::timestamptz AS paused_at
    FROM (SELECT jobber_reviewd.content(value) AS content FROM jobber_reviewd.entries
        WHERE key >= 'account\000' AND key < 'account\001') AS stored;

CREATE OR REPLACE VIEW jobber_reviewd.decisions WITH (security_barrier) AS
    SELECT jobber_reviewd.first_part(key, 9) AS account_id,
        content -> 'work' ->> 'kind' AS work_kind,
        content -> 'work' ->> 'id' AS work_id,
        content ->> 'trigger' AS trigger,
        (content ->> 'finished_at')::timestamptz AS finished_at,
        (content ->> 'at')::timestamptz AS at,
        content ->> 'outcome' AS outcome,
        content ->> 'reason' AS reason,
        content ->> 'ask_id' AS ask_id,
        content -> 'delivery' ->> 'state' AS delivery,
        content -> 'subject' ->> 'client_name' AS client_name,
        content -> 'subject' ->> 'job_number' AS job_number
    FROM (SELECT key, jobber_reviewd.content(value) AS content FROM jobber_reviewd.entries
        WHERE key >= 'decision\000' AND key < 'decision\001') AS stored;

CREATE OR REPLACE VIEW jobber_reviewd.asks WITH (security_barrier) AS
    SELECT account_id, ask_id, work_kind, work_id, trigger, at, delivery, client_name, job_number
    FROM jobber_reviewd.decisions WHERE outcome = 'asked';

COMMENT ON TABLE jobber_reviewd.lease IS 'definition 2';
COMMIT;
