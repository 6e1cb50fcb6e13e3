-- Try to take the run lock for this session; never waits.
select pg_try_advisory_lock($1) as taken
