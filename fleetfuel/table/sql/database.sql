-- The session: its time limits and the run lock.

-- name: limit_lock_waits
-- Waits for a lock end after half a minute, unless the URL or the role says otherwise.
select set_config('lock_timeout', '30s', false) as lock_timeout
where current_setting('lock_timeout') = '0';

-- name: take_lock
-- Try to take the run lock for this transaction; never waits. It lets readers, and pg_dump, go on.
lock table fuel.run_lock in share row exclusive mode nowait;

-- name: lock_holder
-- Who holds the run lock: for the message of a run that may not start.
select a.pid::bigint as pid, to_char(coalesce(a.xact_start, a.backend_start) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SSZ') as since
from pg_locks l
join pg_stat_activity a using (pid)
where l.relation = 'fuel.run_lock'::regclass and l.mode = 'ShareRowExclusiveLock' and l.granted;
