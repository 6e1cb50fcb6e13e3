-- New records. A row that somebody else inserted meanwhile makes this fail, and the run is planned again.
with written as (
    insert into fuel.records (id, raw, fingerprint, source_key, source_at, deleted_at, absent_since, run_id)
    select id, raw, fingerprint, source_key, source_at, deleted_at, absent_since, $1
    from fuel_stage
    where action = 'insert'
    returning plate
),
marked as (
    insert into fuel.stale_plates (plate)
    select distinct plate from written where plate is not null
    on conflict do nothing
)
select count(*) as rows from written
