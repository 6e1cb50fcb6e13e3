-- Deleted rows that are gone from the snapshot, too: noted, so that a late file cannot bring them back.
with written as (
    update fuel.records r
    set absent_since = s.absent_since, fingerprint = null, run_id = $1
    from fuel_stage s
    where s.id = r.id and s.action = 'mark_absent'
    returning 1
)
select count(*) as rows from written
