-- End the session ($1) that still has this transaction ($2) open and lost its client.
select pg_terminate_backend(pid) as ended
from pg_stat_activity
where pid = $1::bigint and backend_xid = ($2::text::xid8)::xid
