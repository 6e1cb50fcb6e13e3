-- What `fleetfuel doctor` looks at.

-- name: read_server
-- What doctor reports of the server, and of this login on it.
select
    current_setting('server_version') as version,
    current_setting('server_version_num')::integer as number,
    session_user::text as role,
    (select rolsuper from pg_roles where rolname = current_user) as is_superuser,
    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as is_encrypted,
    pg_is_in_recovery() as is_replica,
    clock_timestamp() as now;

-- name: read_missing_rights
-- Rights that an import needs and this login lacks. A table that does not exist yet is left out: migrations make it.
with needed (schema, relation, privileges) as (
    values
        ('fuel', 'records', array['select', 'insert', 'update']),
        ('fuel', 'record_versions', array['select']),
        ('fuel', 'stale_vehicles', array['select', 'insert']),
        ('fuel', 'ingest_runs', array['select', 'insert']),
        ('fuel', 'ingest_starts', array['select', 'insert']),
        ('fuel', 'run_lock', array['update']),
        ('fuel', 'evidence_versions', array['select', 'insert']),
        ('fuel', 'undone_lists', array['select', 'insert', 'update']),
        ('fuel', 'ingest_files', array['select', 'insert', 'update']),
        ('fuel', 'ingest_state', array['select', 'insert', 'update']),
        ('fuel', 'rejects', array['select', 'insert', 'update'])
)
select lower(privilege) || ' on ' || n.schema || '.' || n.relation as missing
from needed as n
cross join lateral unnest(n.privileges) as privilege
join pg_namespace as s on s.nspname = n.schema
join pg_class as c on c.relnamespace = s.oid and c.relname = n.relation
where not has_schema_privilege(s.oid, 'usage') or not has_table_privilege(c.oid, privilege)
union all
select 'temporary tables in this database'
where not has_database_privilege(current_database(), 'temporary');

-- name: read_reader_rights
-- Whether grafana_ro exists and may look into the schema of the views; no row if either does not exist.
select
    has_schema_privilege(r.oid, n.oid, 'usage') as may_look,
    pg_get_userbyid(n.nspowner)::text as owner
from pg_roles as r
cross join pg_namespace as n
where r.rolname = 'grafana_ro' and n.nspname = 'reporting';

-- name: read_devices
-- What the last copy of the devices table found.
select said, is_broken, cardinality(columns) > 0 as is_read, since from fuel.devices_state;

-- name: read_health
-- The health of each mode: its last run, when one was last applied, how old its feed is.
select mode, run_id, status, exit_code, age_seconds, last_applied_age_seconds, source_age_seconds
from reporting.v_ingest_health
where mode in ('snapshot', 'changes')
order by mode desc;

-- name: missing_objects
-- What migrations made and is missing now.
select name from fuel.missing_objects();
