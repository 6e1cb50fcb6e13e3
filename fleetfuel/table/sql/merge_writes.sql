-- Rows of one action other than insert: a value, a deletion or an absence that changed. A null `raw` leaves it as it is.
-- Says how many it wrote, and how many of these owe a version to the history.
with old as (
    select r.id, r.raw, r.deleted_at, r.absent_since, r.plate
    from fuel.records r
    join fuel_stage s using (id)
    where s.action = $2
),
written as (
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
    returning r.id, r.raw, r.deleted_at, r.absent_since, r.plate
),
marked as (
    insert into fuel.stale_plates (plate)
    select plate from (select plate from old union select plate from written) as touched where plate is not null
    on conflict do nothing
)
select
    count(*) as rows,
    count(*) filter (
        where (o.raw, o.deleted_at, o.absent_since) is distinct from (w.raw, w.deleted_at, w.absent_since)
    ) as versions
from written w
left join old o using (id)
