-- Who is about to commit: what to ask for should the answer get lost.
select pg_current_xact_id()::text as xid, pg_backend_pid()::bigint as pid
