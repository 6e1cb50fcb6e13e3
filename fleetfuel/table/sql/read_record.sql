-- One record as it stands.
select
    raw::text as raw, deleted_at, absent_since, source_key, source_at, run_id, last_changed_at as valid_from, first_seen_at,
    plate, filled_at
from fuel.records
where id = $1::bigint
