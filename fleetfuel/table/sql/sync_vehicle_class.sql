-- Make fuel.vehicle_class what the rules say ($1: JSON array of rows); a row that is right already is not touched.
with wanted as (
    select class, plate_pattern, rank, litres_min, litres_max, km_per_litre_min, km_per_litre_max
    from jsonb_to_recordset($1::text::jsonb) as wanted (
        class text, plate_pattern text, rank integer, litres_min numeric,
        litres_max numeric, km_per_litre_min numeric, km_per_litre_max numeric
    )
    -- True of every row; a pattern this server cannot read fails here instead of in a view.
    where plate_pattern is null or ('' ~ plate_pattern) is not null
),
stored as (
    select class, plate_pattern, rank, litres_min, litres_max, km_per_litre_min, km_per_litre_max
    from fuel.vehicle_class
),
gone as (
    delete from fuel.vehicle_class
    where class in (
        select class from (select * from stored except select * from wanted) as stale
    )
    returning class
),
-- Counting `gone` makes the insert wait for the delete: a changed row leaves before it comes back.
written as (
    insert into fuel.vehicle_class (class, plate_pattern, rank, litres_min, litres_max, km_per_litre_min, km_per_litre_max)
    select class, plate_pattern, rank, litres_min, litres_max, km_per_litre_min, km_per_litre_max
    from (select * from wanted except select * from stored) as fresh
    where (select count(*) from gone) >= 0
    returning class
)
select
    count(*) filter (where gone is null) as inserted,
    count(*) filter (where gone is not null and written is not null) as updated,
    count(*) filter (where written is null) as deleted
from gone
full join written using (class)
