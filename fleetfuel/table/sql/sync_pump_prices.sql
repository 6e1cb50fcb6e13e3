-- Make fuel.pump_prices what the rules say ($1: JSON array of rows); a row that is right already is not touched.
with wanted as (
    select fuel_type, valid_from, valid_to, price_per_litre_kes
    from jsonb_to_recordset($1::text::jsonb) as wanted (
        fuel_type text, valid_from date, valid_to date, price_per_litre_kes numeric
    )
),
stored as (
    select fuel_type, valid_from, valid_to, price_per_litre_kes
    from fuel.pump_prices
),
gone as (
    delete from fuel.pump_prices
    where (fuel_type, valid_from) in (
        select fuel_type, valid_from from (select * from stored except select * from wanted) as stale
    )
    returning fuel_type, valid_from
),
-- Counting `gone` makes the insert wait for the delete: a changed row leaves before it comes back.
written as (
    insert into fuel.pump_prices (fuel_type, valid_from, valid_to, price_per_litre_kes)
    select fuel_type, valid_from, valid_to, price_per_litre_kes
    from (select * from wanted except select * from stored) as fresh
    where (select count(*) from gone) >= 0
    returning fuel_type, valid_from
)
select
    count(*) filter (where gone is null) as inserted,
    count(*) filter (where gone is not null and written is not null) as updated,
    count(*) filter (where written is null) as deleted
from gone
full join written using (fuel_type, valid_from)
