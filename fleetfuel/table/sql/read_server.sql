-- What doctor tells of the server, and of this login on it.
select
    current_setting('server_version') as version,
    current_setting('server_version_num')::integer as number,
    session_user::text as role,
    (select rolsuper from pg_roles where rolname = current_user) as is_superuser,
    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as is_encrypted,
    pg_is_in_recovery() as is_replica,
    clock_timestamp() as now
