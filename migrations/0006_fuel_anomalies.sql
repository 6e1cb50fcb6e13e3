-- Fills worth a second look, one row per fill and check, in plain words. Which checks run, and how strictly, is said in rules/.

-- Every live fill with a plate and a time beside the fill of its vehicle before it.
create view fuel.fill_neighbours as
select
    r.id, r.plate, r.filled_at, r.fuel_type, r.driver, r.litres, r.amount_kes,
    lag(r.id) over vehicle as before_id,
    lag(r.filled_at) over vehicle as before_at,
    lag(r.fuel_type) over vehicle as before_fuel_type,
    lag(r.driver) over vehicle as before_driver,
    lag(r.litres) over vehicle as before_litres,
    lag(r.amount_kes) over vehicle as before_amount_kes,
    lag(r.id, 2) over vehicle as before_that_id,
    lag(r.filled_at, 2) over vehicle as before_that_at,
    lag(r.litres, 2) over vehicle as before_that_litres,
    lag(r.amount_kes, 2) over vehicle as before_that_amount_kes
from fuel.records as r
where r.deleted_at is null and r.absent_since is null and r.plate is not null and r.filled_at is not null
window vehicle as (partition by r.plate order by r.filled_at, r.id);

-- The cap of each fuel from day to day; where two cycles overlap the later one holds. V-Power is sold above the cap of
-- petrol, never below it.
create view fuel.pump_price_caps as
select
    of.fuel_type,
    p.valid_from,
    least(coalesce(p.valid_to, 'infinity'), lead(p.valid_from) over (partition by of.fuel_type order by p.valid_from) - 1) as valid_to,
    p.price_per_litre_kes,
    of.fuel_type <> p.fuel_type as is_floor
from fuel.pump_prices as p
cross join lateral (
    select p.fuel_type
    union all
    select 'V-POWER'
    where p.fuel_type = 'PETROL' and not exists (select from fuel.pump_prices as v where v.fuel_type = 'V-POWER')
) as of (fuel_type);

-- Each check is one select, joined to its line in rules/: without one it is switched off and reads nothing.
create view reporting.v_fuel_anomalies as
with live as not materialized (
    select r.*, r.filled_at at time zone 'Africa/Nairobi' as filled_at_eat
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null
)
-- The odometer against the vehicle's other readings.
select s.id, s.plate, s.filled_at, found.code, c.severity, s.odometer_km::text as value, found.expected, found.sentence
from fuel.fill_spans as s
cross join lateral (
    select
        case
            when s.status = 'odometer_rollback' and s.km = 0 then 'odometer_unchanged'
            when s.status = 'odometer_rollback' or s.status = 'odometer_outlier' and s.odometer_km < s.before_km then 'odometer_rollback'
            else 'odometer_jump'
        end as code,
        case
            when s.status = 'odometer_outlier' then format('between %s and %s', s.before_km, s.after_km)
            when s.status = 'odometer_rollback' then format('more than %s', s.from_km)
            else format('at most %s', s.from_km + s.max_km)
        end as expected,
        case
            when s.status = 'odometer_outlier' then format(
                'The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', s.odometer_km, s.before_km, s.after_km
            )
            when s.km = 0 then format('The odometer reads %s km, as it did at the fill before: check whether it was copied.', s.odometer_km)
            when s.status = 'odometer_rollback' then format(
                'The odometer reads %s km, %s km less than at the fill before: check both readings.', s.odometer_km, -s.km
            )
            else format(
                'The odometer reads %s km, %s km more than at the fill before (%s): check for a mistyped digit.', s.odometer_km, s.km,
                to_char(s.from_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD')
            )
        end as sentence
) as found
join (select l.code, max(l.severity) as severity from fuel.check_limit as l group by l.code) as c on c.code = found.code
where s.status in ('odometer_outlier', 'odometer_rollback', 'odometer_jump')

union all
select
    r.id, r.plate, r.filled_at, 'odometer_jump', c.severity, r.odometer_km::text, 'at most 2000000',
    format('The odometer reads %s km, more than any vehicle has: check for a mistyped digit.', r.odometer_km)
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'odometer_jump' having count(*) > 0) as c
cross join live as r
where r.odometer_km > 2000000

union all
select
    r.id, r.plate, r.filled_at, 'odometer_missing', c.severity, r.odometer_km::text, 'a reading',
    'No odometer reading: the litres of this fill count towards the next one.'
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'odometer_missing' having count(*) > 0) as c
cross join live as r
where (r.odometer_km >= 1) is not true

union all
select
    s.id, s.plate, s.filled_at, 'efficiency_outlier', c.severity, round(s.km / s.litres_since, 2)::text,
    format('%s to %s', round((m.median / c.factor)::numeric, 2), round((m.median * c.factor)::numeric, 2)),
    format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer.', round(s.km / s.litres_since, 2), round(m.median::numeric, 2))
from (
    select
        max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'factor'), 2)::double precision as factor,
        coalesce(max(l.value) filter (where l.name = 'min_spans'), 5) as min_spans
    from fuel.check_limit as l where l.code = 'efficiency_outlier' having count(*) > 0
) as c
cross join (
    select o.plate, count(*) as spans, percentile_cont(0.5) within group (order by (o.km / o.litres_since)::double precision) as median
    from fuel.fill_spans as o
    where o.status = 'ok'
    group by o.plate
) as m
join fuel.fill_spans as s on s.plate = m.plate
where s.status = 'ok' and m.spans >= c.min_spans
and (s.km / s.litres_since not between (m.median / c.factor)::numeric and (m.median * c.factor)::numeric)

-- The fill against the fill before it.
union all
select
    n.id, n.plate, n.filled_at, 'duplicate_fill', c.severity, coalesce(same.before_id, same.before_that_id)::text,
    format('not the same within %s minutes', trim_scale(c.minutes)),
    format('The same litres and amount as record %s, %s minutes earlier: check whether it is one fill reported twice.',
        coalesce(same.before_id, same.before_that_id),
        round(extract(epoch from n.filled_at - case when same.before_id is not null then n.before_at else n.before_that_at end) / 60))
from (
    select max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'minutes'), 10) as minutes
    from fuel.check_limit as l where l.code = 'duplicate_fill' having count(*) > 0
) as c
cross join fuel.fill_neighbours as n
cross join lateral (
    select
        case when n.litres = n.before_litres and n.amount_kes = n.before_amount_kes
            and n.filled_at - n.before_at <= c.minutes * interval '1 minute' then n.before_id end as before_id,
        case when n.litres = n.before_that_litres and n.amount_kes = n.before_that_amount_kes
            and n.filled_at - n.before_that_at <= c.minutes * interval '1 minute' then n.before_that_id end as before_that_id
) as same
where same.before_id is not null or same.before_that_id is not null

union all
select
    n.id, n.plate, n.filled_at, 'too_frequent', c.severity, format('%s hours', round(extract(epoch from n.filled_at - n.before_at) / 3600, 1)),
    format('%s hours or more', trim_scale(c.hours)),
    format('Filled %s hours after record %s: check whether both fills happened.', round(extract(epoch from n.filled_at - n.before_at) / 3600, 1), n.before_id)
from (
    select max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'hours'), 12) as hours
    from fuel.check_limit as l where l.code = 'too_frequent' having count(*) > 0
) as c
cross join fuel.fill_neighbours as n
where n.filled_at - n.before_at < c.hours * interval '1 hour'

union all
select
    n.id, n.plate, n.filled_at, 'driver_changed', c.severity, n.driver, n.before_driver,
    format('Another driver than %s hours earlier (record %s): check who had the vehicle.',
        round(extract(epoch from n.filled_at - n.before_at) / 3600, 1), n.before_id)
from (
    select max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'hours'), 12) as hours
    from fuel.check_limit as l where l.code = 'driver_changed' having count(*) > 0
) as c
cross join fuel.fill_neighbours as n
where n.filled_at - n.before_at < c.hours * interval '1 hour'
and lower(regexp_replace(n.driver, '\s+', ' ', 'g')) <> lower(regexp_replace(n.before_driver, '\s+', ' ', 'g'))

union all
select
    n.id, n.plate, n.filled_at, 'fuel_type_changed', c.severity, n.fuel_type, n.before_fuel_type,
    format('%s after %s at the fill before (record %s): check the fuel type and the plate.', n.fuel_type, n.before_fuel_type, n.before_id)
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'fuel_type_changed' having count(*) > 0) as c
cross join fuel.fill_neighbours as n
where n.fuel_type <> n.before_fuel_type
-- V-Power is a petrol.
and not (n.fuel_type in ('PETROL', 'V-POWER') and n.before_fuel_type in ('PETROL', 'V-POWER'))

-- The fill by itself.
union all
select
    r.id, r.plate, r.filled_at, 'litres_implausible', c.severity, trim_scale(r.litres)::text,
    format('%s to %s', trim_scale(k.litres_min), trim_scale(k.litres_max)),
    format('%s litres, where a vehicle of class %s takes %s to %s: check for a slipped decimal point.',
        trim_scale(r.litres), k.class, trim_scale(k.litres_min), trim_scale(k.litres_max))
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'litres_implausible' having count(*) > 0) as c
cross join live as r
left join (
    -- A plate's class is looked up once a plate, not once a fill.
    select vehicle.plate, first.class
    from (select distinct p.plate from fuel.records as p where p.deleted_at is null and p.absent_since is null) as vehicle
    cross join lateral (select k.class from fuel.vehicle_class as k where vehicle.plate ~ k.plate_pattern order by k.rank limit 1) as first
) as v on v.plate = r.plate
join fuel.vehicle_class as k
    on k.class = coalesce(v.class, (select o.class from fuel.vehicle_class as o where o.plate_pattern is null order by o.rank limit 1))
where r.litres > 0 and r.litres not between k.litres_min and k.litres_max

union all
select
    r.id, r.plate, r.filled_at, 'price_out_of_range', c.severity, round(r.price_per_litre_kes, 2)::text,
    case
        when p.is_floor then format('at least %s', round(p.price_per_litre_kes * (1 - c.share), 2))
        when p.price_per_litre_kes is not null then format('%s to %s', round(p.price_per_litre_kes * (1 - c.share), 2), round(p.price_per_litre_kes * (1 + c.share), 2))
        else format('%s to %s', trim_scale(c.min_kes), trim_scale(c.max_kes))
    end,
    format('%s KES a litre%s: check amount and litres.%s', round(r.price_per_litre_kes, 2),
        case when p.price_per_litre_kes is not null then format(', where the pump price was capped at %s', trim_scale(p.price_per_litre_kes)) end,
        case
            when r.price_per_litre_kes between c.min_kes and c.max_kes then null
            when r.amount_kes between c.min_kes and c.max_kes then ' The amount looks like a price per litre.'
            when r.price_per_litre_kes * 1000 between c.min_kes and c.max_kes then ' The amount looks a thousand times too small.'
            when r.price_per_litre_kes * 10 between c.min_kes and c.max_kes then ' The litres look ten times too large, or the amount ten times too small.'
            when r.price_per_litre_kes / 10 between c.min_kes and c.max_kes then ' The amount looks ten times too large, or the litres ten times too small.'
        end)
from (
    select
        max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'min_kes'), 50) as min_kes,
        coalesce(max(l.value) filter (where l.name = 'max_kes'), 500) as max_kes, coalesce(max(l.value) filter (where l.name = 'share'), 0.15) as share
    from fuel.check_limit as l where l.code = 'price_out_of_range' having count(*) > 0
) as c
cross join live as r
left join fuel.pump_price_caps as p on p.fuel_type = r.fuel_type and r.filled_at_eat::date between p.valid_from and p.valid_to
where r.amount_kes > 0
and (
    r.price_per_litre_kes not between c.min_kes and c.max_kes
    or r.price_per_litre_kes < p.price_per_litre_kes * (1 - c.share)
    or (r.price_per_litre_kes > p.price_per_litre_kes * (1 + c.share) and not p.is_floor)
)

union all
select
    r.id, r.plate, r.filled_at, 'odd_hours', c.severity, to_char(r.filled_at_eat, 'HH24:MI'),
    format('%s:00 to %s:00', lpad(trim_scale(c.to_hour)::text, 2, '0'), lpad(trim_scale(c.from_hour)::text, 2, '0')),
    format('Filled at %s at night: check the time of the fill.', to_char(r.filled_at_eat, 'HH24:MI'))
from (
    select
        max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'from_hour'), 22) as from_hour,
        coalesce(max(l.value) filter (where l.name = 'to_hour'), 5) as to_hour
    from fuel.check_limit as l where l.code = 'odd_hours' having count(*) > 0
) as c
cross join live as r
where case
    when c.from_hour > c.to_hour then extract(hour from r.filled_at_eat) >= c.from_hour or extract(hour from r.filled_at_eat) < c.to_hour
    else extract(hour from r.filled_at_eat) >= c.from_hour and extract(hour from r.filled_at_eat) < c.to_hour
end
-- A date without a time of day reads as midnight sharp.
and r.filled_at_eat <> date_trunc('day', r.filled_at_eat)

union all
select
    r.id, r.plate, r.filled_at, 'future_date', c.severity, to_char(r.filled_at_eat, 'YYYY-MM-DD HH24:MI'), 'not in the future',
    format('Dated %s, which is still to come: check the date.', to_char(r.filled_at_eat, 'YYYY-MM-DD'))
from (
    select max(l.severity) as severity, coalesce(max(l.value) filter (where l.name = 'hours'), 0) as hours
    from fuel.check_limit as l where l.code = 'future_date' having count(*) > 0
) as c
cross join live as r
where r.filled_at > now() + c.hours * interval '1 hour'

union all
select
    r.id, r.plate, r.filled_at, 'unknown_plate', c.severity, r.car, 'a number plate',
    case when r.plate is null then 'No plate: check which vehicle was filled.' else format('%s has the shape of no known plate: check which vehicle was filled.', r.car) end
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'unknown_plate' having count(*) > 0) as c
cross join live as r
where r.plate !~ '^(?:[KG][A-HJ-NP-Z]{2}[0-9]{3}[A-HJ-NP-Z]|K[A-HJ-NP-Z]{3}[0-9]{3}[A-HJ-NP-Z]|K[A-HJ-NP-Z]{2}[0-9]{3}|U[A-Z]{2}[0-9]{3}[A-Z]|UA[0-9]{3}[A-Z]{2}|Z[A-HJ-NP-Z][0-9]{4}|[0-9]{1,3}C[DG][0-9]{1,4}[A-HJ-NP-Z]?)$'
or r.plate is null

union all
select
    r.id, r.plate, r.filled_at, 'unknown_fuel_type', c.severity, written.fuel_type, 'a fuel type rules/ knows',
    case when written.fuel_type is null then 'No fuel type: check what was filled.' else format('Fuel type %s is not known: check what was filled.', written.fuel_type) end
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'unknown_fuel_type' having count(*) > 0) as c
cross join live as r
cross join lateral (
    select (array_agg(r.raw ->> f.alias order by f.rank) filter (where btrim(r.raw ->> f.alias) <> ''))[1] as fuel_type
    from fuel.source_field as f
    where f.field = 'fuel_type'
) as written
where r.fuel_type is null

union all
select
    r.id, r.plate, r.filled_at, 'missing_amount', c.severity, trim_scale(r.amount_kes)::text, 'an amount in KES', 'No amount, or none that can be read: check the receipt.'
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'missing_amount' having count(*) > 0) as c
cross join live as r
where (r.amount_kes > 0) is not true

union all
select
    r.id, r.plate, r.filled_at, 'missing_litres', c.severity, trim_scale(r.litres)::text, 'litres', 'No litres, or none that can be read: check the receipt.'
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'missing_litres' having count(*) > 0) as c
cross join live as r
where (r.litres > 0) is not true;

comment on view reporting.v_fuel_anomalies is 'One row per live fill and check worth a second look. Each asks somebody to check, none accuses anybody.';
