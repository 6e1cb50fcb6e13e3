-- The rows with the given ids in full: what a record that may change them is compared with.
select
    id,
    raw::text as raw,
    fingerprint,
    deleted_at,
    absent_since,
    source_at,
    plate,
    filled_at
from fuel.records
where id = any ($1::text::bigint[])
