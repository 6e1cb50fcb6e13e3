-- What the demo needs besides the feed.

-- name: create_demo_schema
-- The schema of the tracking application, in whose place the demo acts.
create schema tracksolid;

-- name: create_demo_devices
-- Stands in for the table that the tracking application owns, so that the demo's fills meet their vehicles.
create table tracksolid.devices (imei text primary key, vehicle_number text, cost_centre text, assigned_city text);

-- name: fill_demo_devices
-- The demo's vehicles.
insert into tracksolid.devices
select imei, vehicle_number, cost_centre, assigned_city
from jsonb_to_recordset($1::text::jsonb) as d (imei text, vehicle_number text, cost_centre text, assigned_city text);

-- name: read_demo_fills
-- The newest fills as an analyst sees them.
select to_char(filled_at_eat, 'YYYY-MM-DD HH24:MI') as filled_at_eat, plate, fuel_type, department,
       round(litres, 2)::text as litres, to_char(amount_kes, 'FM999,999,990') as amount_kes,
       round(price_per_litre_kes, 1)::text as kes_per_litre, cost_centre
from reporting.v_fuel_fills
where filled_at < now()
order by filled_at desc, id desc
limit 6;

-- name: read_demo_month
-- The last whole month by cost centre: spend, and consumption from spans that can be right.
select to_char(month, 'YYYY-MM') as month, coalesce(cost_centre, '-') as cost_centre, sum(fills)::text as fills,
       to_char(sum(amount_kes), 'FM999,999,990') as amount_kes, sum(unbelievable_fills)::text as left_out,
       round(sum(distance_km) / nullif(sum(span_litres), 0), 2)::text as km_per_litre, sum(warn_fills)::text as to_look_at
from reporting.v_fuel_monthly
where month = (select max(m.month) from reporting.v_fuel_monthly as m where m.distance_km > 0) - interval '1 month'
group by month, cost_centre
order by month, cost_centre;

-- name: read_demo_findings
-- Three findings, the newest of three kinds.
select plate, filled_on::text as filled_on, id::text as id, code, sentence
from (
    select distinct on (code) * from reporting.v_fuel_anomalies
    where code in ('efficiency_outlier', 'duplicate_fill', 'odometer_jump', 'price_out_of_range')
    order by code, filled_at desc, id desc
) as newest
order by code
limit 3;

-- name: read_demo_rows
-- The live rows, as they are compared before a bad snapshot and after its undoing.
select id, raw::text as raw from fuel.records where deleted_at is null and absent_since is null order by id;
