-- Rows of one action other than insert: a value, a deletion or an absence that changed. A null `raw` leaves it as it is.
with written as (
    update fuel.records r
    set raw = coalesce(s.raw, r.raw),
        fingerprint = s.fingerprint,
        source_key = s.source_key,
        source_at = s.source_at,
        deleted_at = s.deleted_at,
        absent_since = s.absent_since,
        run_id = $1,
        last_changed_at = now()
    from fuel_stage s
    where s.id = r.id and s.action = $2
    returning 1
)
select count(*) as rows from written
