-- The reports on fills and consumption. For Grafana: $__timeFilter belongs on filled_at; filled_at_eat and filled_on are the
-- same instant in East Africa Time, so a filter in UTC on them is hours, or a day, off.

-- One device a vehicle: one with a cost centre before one without, then by imei. A former plate's device is the vehicle's.
create view fuel.vehicle_devices as
select distinct on (d.vehicle) d.vehicle, d.imei, d.cost_centre, d.assigned_city
from (
    select coalesce(k.vehicle, d.plate) as vehicle, d.imei, d.cost_centre, d.assigned_city
    from fuel.devices as d
    left join fuel.known_vehicle as k on k.plate = d.plate
) as d
order by d.vehicle, (d.cost_centre is not null) desc, d.imei collate "C", d.cost_centre collate "C", d.assigned_city collate "C";

-- The checks that rules/ has switched on.
create view fuel.enabled_check as
select l.code, max(l.severity) as severity from fuel.check_limit as l where l.code <> 'efficiency' group by l.code;

-- An edited plate: the same driver, litres, amount and reading on another vehicle, reported within 20 minutes. Facts are a
-- vehicle's own, so this is computed when it is read: from this index, but for the few fills that agree in all the rest. It is
-- ordered by one number made of reading, litres and amount (their hash), as one number is compared faster than three.
create index records_live_by_reading on fuel.records (hash_numeric_extended(amount_kes, hash_numeric_extended(litres, odometer_km)), source_created_at)
include (odometer_km, litres, amount_kes, vehicle, plate, filled_at, id)
where deleted_at is null and absent_since is null and odometer_km between 1 and 2000000 and source_created_at >= '2015-01-01Z';

-- So that the planner knows that hardly two fills have the same number; of an index of some rows it believes no statistics.
create statistics fuel.records_by_reading on (hash_numeric_extended(amount_kes, hash_numeric_extended(litres, odometer_km))) from fuel.records;

-- A question about one plate looks up its fills alone.
create index records_live_by_plate on fuel.records (plate)
where deleted_at is null and absent_since is null;

-- The fills whose plate may have been edited, each with that number.
create view fuel.hashed_readings as
select
    r.id, r.vehicle, r.plate, r.filled_at, r.source_created_at as reported_at, r.odometer_km, r.litres, r.amount_kes,
    hash_numeric_extended(r.amount_kes, hash_numeric_extended(r.litres, r.odometer_km)) as hash
from fuel.records as r
where r.deleted_at is null and r.absent_since is null and r.odometer_km between 1 and 2000000 and r.source_created_at >= '2015-01-01Z';

-- The fills that agree with fills of other vehicles in all that the index knows, each with those.
create view fuel.equal_readings as
select r.id, r.vehicle, r.plate, r.filled_at, array_agg(other.id) as other_ids
from fuel.hashed_readings as r
join fuel.hashed_readings as other on other.hash = r.hash
where other.odometer_km = r.odometer_km and other.litres = r.litres and other.amount_kes = r.amount_kes
and other.reported_at between r.reported_at - (select l.twin_within from fuel.anomaly_limit as l)
    and r.reported_at + (select l.twin_within from fuel.anomaly_limit as l)
and other.vehicle <> r.vehicle
group by r.id, r.vehicle, r.plate, r.filled_at;

-- The fills with an edited plate, each with the first record that it may be.
create view fuel.edited_plates as
select e.id, e.vehicle, e.plate, e.filled_at, other.id as other_id
from fuel.equal_readings as e
cross join lateral (
    select min(b.id) as id
    from fuel.records as a
    cross join fuel.records as b
    where a.id = e.id and b.id = any (e.other_ids)
    and fuel.is_usable_report(a.source_created_at, a.source_at) and fuel.is_usable_report(b.source_created_at, b.source_at)
    -- Most names are written alike; of these one is cleaned.
    and case
        when a.driver = b.driver then fuel.clean_driver(a.driver) is not null
        else fuel.clean_driver(a.driver) = fuel.clean_driver(b.driver)
    end
) as other
where other.id is not null;

-- The facts of a fill with what is never stored: that it lies ahead, and that its plate was edited. That one is a column of its
-- own, never an element of a list, so that the planner looks up a few fills, and joins a whole fleet once.
create view fuel.checked_fills as
select
    f.*,
    case when f.filled_at > now() + interval '1 day' then array_append(f.findings, 'impossible_time') else f.findings end as own_findings,
    exists (select from fuel.edited_plates as p where p.id = f.id) as has_edited_plate
from fuel.current_fill_facts as f;

create view reporting.v_fuel_fills as
select
    f.id,
    f.filled_at,
    f.filled_at_eat,
    f.filled_at_eat::date as filled_on,
    f.plate,
    f.car,
    f.driver,
    f.department,
    f.fuel_type,
    f.litres,
    f.amount_kes,
    f.price_per_litre_kes,
    f.odometer_km,
    device.imei,
    device.cost_centre,
    device.assigned_city,
    f.filled_at_is_assumed,
    f.reported_at,
    f.driver_name,
    f.vehicle_class,
    f.cap_kes as pump_price_cap_kes,
    f.superseded_by,
    case
        when f.own_findings && (select array_agg(c.code) from fuel.enabled_check as c where c.severity = 'warn') then 'warn'
        when f.has_edited_plate and 'warn' = (select c.severity from fuel.enabled_check as c where c.code = 'edited_plate') then 'warn'
        when f.own_findings && (select array_agg(c.code) from fuel.enabled_check as c where c.severity = 'info') then 'info'
        when f.has_edited_plate then (select c.severity from fuel.enabled_check as c where c.code = 'edited_plate')
    end as worst_severity,
    case
        when f.has_edited_plate then array(
            select x.code from unnest(array_append(f.own_findings, 'edited_plate')) as x (code)
            where x.code = any ((select array_agg(c.code) from fuel.enabled_check as c)::text[]) order by x.code
        )
        when f.own_findings is not null then array(
            select x.code from unnest(f.own_findings) as x (code)
            where x.code = any ((select array_agg(c.code) from fuel.enabled_check as c)::text[]) order by x.code
        )
        else '{}'
    end as finding_codes,
    r.last_changed_at as changed_at
from fuel.checked_fills as f
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
left join fuel.records as r on r.id = f.id;

create view reporting.v_fuel_efficiency as
select
    f.id,
    f.plate,
    f.filled_at,
    f.filled_at_eat::date as filled_on,
    f.fuel_type,
    f.litres,
    f.amount_kes,
    f.odometer_km,
    f.distance_km,
    f.span_litres,
    f.km_per_litre,
    f.litres_per_100km,
    f.kes_per_km,
    f.rolling_km_per_litre,
    f.status,
    f.span_amount_kes,
    case when f.distance_km is not null then f.from_at end as span_from_at,
    case when f.distance_km is not null then f.from_km end as span_from_km,
    f.fuel_family,
    round(f.usual_km_per_litre::numeric, 3) as usual_km_per_litre,
    f.rolling_spans_used,
    f.driver_name,
    f.department,
    device.cost_centre
from fuel.current_fill_facts as f
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
where not f.is_apart;

-- Spend and consumption by month and vehicle. Left out: superseded fills altogether; of the others, amounts that are not
-- believable (over 1,500 KES a litre: another currency, a slipped decimal point) and swapped litres and amounts, which are
-- counted in unbelievable_fills. Consumption is that of the ok spans, in the month of the fill that closes them.
create view reporting.v_fuel_monthly as
select
    date_trunc('month', f.filled_at_eat)::date as month,
    f.vehicle as plate,
    f.vehicle_class,
    device.cost_centre,
    f.department,
    f.fuel_family,
    count(*) as fills,
    coalesce(sum(f.litres) filter (where not f.is_swapped), 0) as litres,
    coalesce(sum(f.amount_kes) filter (where not f.is_swapped and not f.is_too_dear), 0) as amount_kes,
    count(*) filter (where f.is_swapped or f.is_too_dear) as unbelievable_fills,
    round(coalesce(sum((f.price_per_litre_kes - f.cap_kes) * f.litres) filter (
        where f.price_per_litre_kes > f.cap_kes and not f.cap_is_old and not f.cap_is_floor and not f.is_swapped and not f.is_too_dear
    ), 0), 2) as over_cap_kes,
    coalesce(sum(f.distance_km) filter (where f.status = 'ok'), 0)::bigint as distance_km,
    coalesce(sum(f.span_litres) filter (where f.status = 'ok'), 0) as span_litres,
    coalesce(sum(f.span_amount_kes) filter (where f.status = 'ok'), 0) as span_amount_kes,
    round(sum(f.distance_km) filter (where f.status = 'ok') / nullif(sum(f.span_litres) filter (where f.status = 'ok'), 0), 3) as km_per_litre,
    round(
        sum(f.span_amount_kes) filter (where f.status = 'ok')
        / nullif(sum(f.distance_km) filter (where f.status = 'ok' and f.span_amount_kes is not null), 0), 3
    ) as kes_per_km,
    count(*) filter (where f.has_warning) as warn_fills
from (
    select
        a.*,
        a.own_findings && (select array_agg(c.code) from fuel.enabled_check as c where c.severity = 'warn')
        or (a.has_edited_plate and 'warn' = (select c.severity from fuel.enabled_check as c where c.code = 'edited_plate')) as has_warning
    from fuel.checked_fills as a
    where a.superseded_by is null
) as f
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
group by 1, 2, 3, 4, 5, 6;
