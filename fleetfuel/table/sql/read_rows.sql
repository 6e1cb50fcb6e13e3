-- Every row's id and fingerprint: what the diff needs to know of a row that did not change. No parameters, so it streams.
select
    id,
    fingerprint,
    source_at,
    deleted_at is null and absent_since is null as is_live,
    absent_since is null as is_present
from fuel.records
