-- The session: its time limits and the run lock.

-- name: read_surroundings
-- What server, database and role have set, as far as a run depends on it.
select
    session_user::text as role,
    current_setting('server_encoding') as server_encoding,
    current_setting('lock_timeout') <> '0' as has_lock_timeout,
    current_setting('statement_timeout') <> '0' as has_time_limit,
    current_setting('server_version_num')::integer >= 140000 and version() ~ 'linux|darwin|bsd' as can_check_connection,
    pg_is_in_recovery() as is_replica,
    current_setting('default_transaction_read_only')::boolean as is_read_only,
    coalesce(
        (
            select bool_or(row_security_active(c.oid))
            from pg_class as c
            join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = 'fuel' and c.relkind = 'r' and c.relrowsecurity
        ),
        false
    ) as hides_rows;

-- name: limit_lock_waits
-- A wait for a lock ends after half a minute; sent unless the URL, the role or the server sets another limit.
set local lock_timeout = '30s';

-- name: notice_a_lost_client
-- A statement whose client is gone ends within seconds, and its locks with it, instead of running on.
set local client_connection_check_interval = '5s';

-- name: limit_idleness
-- The run may work on long files between two statements, but a run that is frozen is ended after a while.
set local idle_in_transaction_session_timeout = '15min';

-- name: take_lock
-- Try to take the run lock for this transaction; never waits. It lets readers, and pg_dump, go on.
lock table fuel.run_lock in share row exclusive mode nowait;

-- name: lock_holder
-- Who holds the run lock: for the message of a run that may not start.
select a.pid::bigint as pid, to_char(coalesce(a.xact_start, a.backend_start) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SSZ') as since
from pg_locks l
join pg_stat_activity a using (pid)
where l.relation = 'fuel.run_lock'::regclass and l.mode = 'ShareRowExclusiveLock' and l.granted;
