-- Who holds the run lock: for the message of a run that may not start.
select a.pid::bigint as pid, to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SSZ') as since
from pg_locks l
join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and ((l.classid::bigint << 32) | l.objid::bigint) = $1
