-- Rights an import needs and this login lacks. A table that is not there yet is for the migrations to bring.
with needed (schema, relation, privileges) as (
    values
        ('fuel', 'records', array['select', 'insert', 'update']),
        ('fuel', 'record_versions', array['select', 'insert']),
        ('fuel', 'stale_plates', array['select', 'insert']),
        ('fuel', 'ingest_runs', array['select', 'insert']),
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
where not has_database_privilege(current_database(), 'temporary')
