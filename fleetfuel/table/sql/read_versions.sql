-- The overwritten versions of one record, oldest first.
select
    raw::text as raw, deleted_at, absent_since, source_key, source_at, run_id, valid_from, replaced_at, replaced_by_run,
    replaced_by_role
from fuel.record_versions
where id = $1::bigint
order by version_id
