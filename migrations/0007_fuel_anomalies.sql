-- Fills worth a second look, one row per fill and check, in plain words. Which checks run, and how strictly, is said in rules/.

-- Live fills that belong to no vehicle's order: no check compares them with other fills.
create index records_live_apart on fuel.records (plate, filled_at)
where deleted_at is null and absent_since is null and (plate is null or filled_at is null);

-- The caps of each fuel in the order of time: the n-th holds from the n-th day on, null where nothing is known. Where two
-- cycles overlap the later one holds. V-Power is sold above the cap of petrol, never below it.
create view fuel.pump_price_caps as
select
    of.fuel_type,
    bool_or(of.fuel_type <> p.fuel_type) as is_floor,
    array_agg(known.since order by known.since) as since,
    array_agg(known.kes order by known.since) as kes
from (
    select p.*, lead(p.valid_from) over (partition by p.fuel_type order by p.valid_from) as next_from from fuel.pump_prices as p
) as p
cross join lateral (
    select p.fuel_type
    union all
    select 'V-POWER'
    where p.fuel_type = 'PETROL' and not exists (select from fuel.pump_prices as v where v.fuel_type = 'V-POWER')
) as of (fuel_type)
cross join lateral (
    select p.valid_from, p.price_per_litre_kes
    union all
    select p.valid_to + 1, null where p.valid_to + 1 < coalesce(p.next_from, 'infinity')
) as known (since, kes)
group by of.fuel_type;

-- The limits of the checks, from rules/, in one row (offset 0: worked out once, not once a fill).
create view fuel.anomaly_limit as
select
    l.efficiency_factor, 1 / l.efficiency_factor as efficiency_least, ceil(l.efficiency_min_spans)::bigint as efficiency_min_spans,
    l.duplicate_minutes, l.duplicate_minutes * interval '1 minute' as duplicate_within,
    l.frequent_hours, l.frequent_hours * interval '1 hour' as frequent_within,
    l.driver_hours * interval '1 hour' as driver_within,
    l.price_min_kes, l.price_max_kes, 1 - l.price_share as price_least, 1 + l.price_share as price_most,
    l.odd_from_hour, l.odd_to_hour,
    now() + l.future_hours * interval '1 hour' as future_from
from (
    select
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'factor'), 2)::double precision as efficiency_factor,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'min_spans'), 5) as efficiency_min_spans,
        coalesce(max(l.value) filter (where l.code = 'duplicate_fill' and l.name = 'minutes'), 10) as duplicate_minutes,
        coalesce(max(l.value) filter (where l.code = 'too_frequent' and l.name = 'hours'), 12) as frequent_hours,
        coalesce(max(l.value) filter (where l.code = 'driver_changed' and l.name = 'hours'), 12) as driver_hours,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'min_kes'), 50) as price_min_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'max_kes'), 500) as price_max_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'share'), 0.15) as price_share,
        coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'from_hour'), 22)::double precision as odd_from_hour,
        coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'to_hour'), 5)::double precision as odd_to_hour,
        coalesce(max(l.value) filter (where l.code = 'future_date' and l.name = 'hours'), 0) as future_hours
    from fuel.check_limit as l
) as l
offset 0;

-- Every live fill once. What each check says of it is decided in one place (`odd`); most fills pass them all, and only the
-- others are turned into rows and words (`found`). A check without a line in rules/ is switched off. Offset 0 keeps a value
-- that many checks ask for from being worked out for each of them.
create view reporting.v_fuel_anomalies as
with fills as (
    select
        f.id, f.plate, f.filled_at, f.filled_at_eat, f.fuel_type, f.litres, f.amount_kes, f.price_per_litre_kes, f.odometer_km, f.status,
        f.distance_km, f.span_litres, f.usual_km_per_litre, f.usual_spans, f.times_usual, f.before_km, f.after_km, f.from_km, f.from_at,
        f.max_km, f.before_id, f.before_at, f.other_fuel_type, f.twin_id, f.twin_at, f.vehicle_class, f.has_plate_shape
    from fuel.current_fill_facts as f
    union all
    select
        r.id, r.plate, r.filled_at, r.filled_at at time zone 'Africa/Nairobi', r.fuel_type, r.litres, r.amount_kes, r.price_per_litre_kes,
        r.odometer_km,
        case when r.odometer_km > 2000000 then 'odometer_outlier' when (r.odometer_km >= 1) is not true then 'missing_odometer' end,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        (
            select k.class from fuel.vehicle_class as k
            where k.plate_pattern is null or r.plate ~ k.plate_pattern
            order by k.plate_pattern is null, k.rank limit 1
        ),
        coalesce(fuel.has_plate_shape(r.plate), false)
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null and (r.plate is null or r.filled_at is null)
)
select f.id, f.plate, f.filled_at, found.code, c.severity, found.value, found.expected, found.sentence
from fills as f
cross join fuel.anomaly_limit as l
left join fuel.vehicle_class as k on k.class = f.vehicle_class
left join fuel.pump_price_caps as p on p.fuel_type = f.fuel_type
cross join lateral (select p.kes[width_bucket(f.filled_at_eat::date, p.since)] as kes offset 0) as cap
cross join lateral (
    select
        f.status in ('odometer_outlier', 'odometer_rollback', 'odometer_jump', 'missing_odometer') as odometer,
        (f.times_usual < l.efficiency_least or f.times_usual > l.efficiency_factor) and f.usual_spans >= l.efficiency_min_spans as efficiency,
        f.twin_id is not null and f.filled_at - f.twin_at <= l.duplicate_within as duplicate,
        f.filled_at - f.before_at < l.frequent_within as frequent,
        f.filled_at - f.before_at < l.driver_within as soon_after_another,
        f.other_fuel_type is not null as change_of_fuel,
        f.litres > 0 and f.litres not between k.litres_min and k.litres_max as litres,
        f.amount_kes > 0
            and (
                f.price_per_litre_kes not between l.price_min_kes and l.price_max_kes
                or f.price_per_litre_kes < cap.kes * l.price_least
                or (f.price_per_litre_kes > cap.kes * l.price_most and not p.is_floor)
            ) as price,
        case
            when l.odd_from_hour > l.odd_to_hour
                then date_part('hour', f.filled_at_eat) >= l.odd_from_hour or date_part('hour', f.filled_at_eat) < l.odd_to_hour
            else date_part('hour', f.filled_at_eat) >= l.odd_from_hour and date_part('hour', f.filled_at_eat) < l.odd_to_hour
        end
        -- A date without a time of day reads as midnight sharp.
        and f.filled_at_eat::time <> '00:00' as hour,
        f.filled_at > l.future_from as future,
        not f.has_plate_shape as plate,
        f.fuel_type is null as fuel_type,
        (f.amount_kes > 0) is not true as no_amount,
        (f.litres > 0) is not true as no_litres
) as odd
cross join lateral (
    select
        case
            when f.status = 'missing_odometer' then 'odometer_missing'
            when f.status = 'odometer_rollback' and f.odometer_km = f.from_km then 'odometer_unchanged'
            when f.status = 'odometer_rollback' or f.odometer_km < f.before_km then 'odometer_rollback'
            else 'odometer_jump'
        end as code,
        f.odometer_km::text as value,
        case
            when f.status = 'missing_odometer' then 'a reading'
            when f.odometer_km > 2000000 then 'at most 2000000'
            when f.status = 'odometer_outlier' then format('between %s and %s', f.before_km, f.after_km)
            when f.status = 'odometer_rollback' then format('more than %s', f.from_km)
            else format('at most %s', f.from_km + f.max_km)
        end as expected,
        case
            when f.status = 'missing_odometer' then 'No odometer reading: the litres of this fill count towards the next one.'
            when f.odometer_km > 2000000 then format('The odometer reads %s km, more than any vehicle has: check for a mistyped digit.', f.odometer_km)
            when f.status = 'odometer_outlier' then format(
                'The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', f.odometer_km, f.before_km, f.after_km
            )
            when f.odometer_km = f.from_km then format('The odometer reads %s km, as it did at the fill before: check whether it was copied.', f.odometer_km)
            when f.status = 'odometer_rollback' then format(
                'The odometer reads %s km, %s km less than at the fill before: check both readings.', f.odometer_km, f.from_km - f.odometer_km
            )
            else format(
                'The odometer reads %s km, %s km more than at the fill before (%s): check for a mistyped digit.', f.odometer_km,
                f.odometer_km - f.from_km, to_char(f.from_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD')
            )
        end as sentence
    where odd.odometer

    union all
    select
        'efficiency_outlier', round(f.distance_km / f.span_litres, 2)::text,
        format('%s to %s', round((f.usual_km_per_litre / l.efficiency_factor)::numeric, 2), round((f.usual_km_per_litre * l.efficiency_factor)::numeric, 2)),
        format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer.',
            round(f.distance_km / f.span_litres, 2), round(f.usual_km_per_litre::numeric, 2))
    where odd.efficiency

    -- The fill against the fill before it.
    union all
    select
        'duplicate_fill', f.twin_id::text, format('not the same within %s minutes', trim_scale(l.duplicate_minutes)),
        format('The same litres and amount as record %s, %s minutes earlier: check whether it is one fill reported twice.',
            f.twin_id, round(extract(epoch from f.filled_at - f.twin_at) / 60))
    where odd.duplicate

    union all
    select
        'too_frequent', format('%s hours', round(extract(epoch from f.filled_at - f.before_at) / 3600, 1)),
        format('%s hours or more', trim_scale(l.frequent_hours)),
        format('Filled %s hours after record %s: check whether both fills happened.',
            round(extract(epoch from f.filled_at - f.before_at) / 3600, 1), f.before_id)
    where odd.frequent

    union all
    select
        'driver_changed', r.driver, before.driver,
        format('Another driver than %s hours earlier (record %s): check who had the vehicle.',
            round(extract(epoch from f.filled_at - f.before_at) / 3600, 1), f.before_id)
    from fuel.records as r
    join fuel.records as before on before.id = f.before_id
    where odd.soon_after_another and r.id = f.id
    and lower(regexp_replace(r.driver, '\s+', ' ', 'g')) <> lower(regexp_replace(before.driver, '\s+', ' ', 'g'))

    union all
    select
        'fuel_type_changed', f.fuel_type, f.other_fuel_type,
        format('%s after %s at the fill before (record %s): check the fuel type and the plate.', f.fuel_type, f.other_fuel_type, f.before_id)
    where odd.change_of_fuel

    -- The fill by itself.
    union all
    select
        'litres_implausible', trim_scale(f.litres)::text, format('%s to %s', trim_scale(k.litres_min), trim_scale(k.litres_max)),
        format('%s litres, where a vehicle of class %s takes %s to %s: check for a slipped decimal point.',
            trim_scale(f.litres), k.class, trim_scale(k.litres_min), trim_scale(k.litres_max))
    where odd.litres

    union all
    select
        'price_out_of_range', round(f.price_per_litre_kes, 2)::text,
        case
            when cap.kes is null then format('%s to %s', trim_scale(l.price_min_kes), trim_scale(l.price_max_kes))
            when p.is_floor then format('at least %s', round(cap.kes * l.price_least, 2))
            else format('%s to %s', round(cap.kes * l.price_least, 2), round(cap.kes * l.price_most, 2))
        end,
        format('%s KES a litre%s: check amount and litres.%s', round(f.price_per_litre_kes, 2),
            case when cap.kes is not null then format(', where the pump price was capped at %s', trim_scale(cap.kes)) end,
            case
                when f.price_per_litre_kes between l.price_min_kes and l.price_max_kes then null
                when f.amount_kes between l.price_min_kes and l.price_max_kes then ' The amount looks like a price per litre.'
                when f.price_per_litre_kes * 1000 between l.price_min_kes and l.price_max_kes then ' The amount looks a thousand times too small.'
                when f.price_per_litre_kes * 10 between l.price_min_kes and l.price_max_kes then ' The litres look ten times too large, or the amount ten times too small.'
                when f.price_per_litre_kes / 10 between l.price_min_kes and l.price_max_kes then ' The amount looks ten times too large, or the litres ten times too small.'
            end)
    where odd.price

    union all
    select
        'odd_hours', to_char(f.filled_at_eat, 'HH24:MI'),
        format('%s:00 to %s:00', lpad(l.odd_to_hour::text, 2, '0'), lpad(l.odd_from_hour::text, 2, '0')),
        format('Filled at %s at night: check the time of the fill.', to_char(f.filled_at_eat, 'HH24:MI'))
    where odd.hour

    union all
    select
        'future_date', to_char(f.filled_at_eat, 'YYYY-MM-DD HH24:MI'), 'not in the future',
        format('Dated %s, which is still to come: check the date.', to_char(f.filled_at_eat, 'YYYY-MM-DD'))
    where odd.future

    union all
    select
        'unknown_plate', r.car, 'a number plate',
        case when r.plate is null then 'No plate: check which vehicle was filled.' else format('%s has the shape of no known plate: check which vehicle was filled.', r.car) end
    from fuel.records as r
    where odd.plate and r.id = f.id

    union all
    select
        'unknown_fuel_type', written.fuel_type, 'a fuel type rules/ knows',
        case when written.fuel_type is null then 'No fuel type: check what was filled.' else format('Fuel type %s is not known: check what was filled.', written.fuel_type) end
    from fuel.records as r
    cross join lateral (
        select (array_agg(r.raw ->> s.alias order by s.rank) filter (where btrim(r.raw ->> s.alias) <> ''))[1] as fuel_type
        from fuel.source_field as s
        where s.field = 'fuel_type'
    ) as written
    where odd.fuel_type and r.id = f.id

    union all
    select 'missing_amount', trim_scale(f.amount_kes)::text, 'an amount in KES', 'No amount, or none that can be read: check the receipt.'
    where odd.no_amount

    union all
    select 'missing_litres', trim_scale(f.litres)::text, 'litres', 'No litres, or none that can be read: check the receipt.'
    where odd.no_litres
) as found
join (select l.code, max(l.severity) as severity from fuel.check_limit as l group by l.code) as c on c.code = found.code
where odd.odometer or odd.efficiency or odd.duplicate or odd.frequent or odd.soon_after_another or odd.change_of_fuel
or odd.litres or odd.price or odd.hour or odd.future or odd.plate or odd.fuel_type
or odd.no_amount or odd.no_litres;

comment on view reporting.v_fuel_anomalies is 'One row per live fill and check worth a second look. Each asks somebody to check, none accuses anybody.';
