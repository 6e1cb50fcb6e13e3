-- Fills worth a second look, one row per fill and check, in plain words. Which checks run, and how strictly, is said in rules/.

-- Live fills that belong to no vehicle's order: no check compares them with other fills.
create index records_live_apart on fuel.records (plate, filled_at)
where deleted_at is null and absent_since is null and (plate is null or filled_at is null);

-- The caps of each fuel, oldest first; where two cycles overlap the later one holds. V-Power is sold above the cap of
-- petrol, never below it.
create view fuel.pump_price_caps as
select
    of.fuel_type,
    bool_or(of.fuel_type <> p.fuel_type) as is_floor,
    array_agg(p.valid_from order by p.valid_from) as valid_from,
    array_agg(coalesce(p.valid_to, 'infinity') order by p.valid_from) as valid_to,
    array_agg(p.price_per_litre_kes order by p.valid_from) as price_per_litre_kes
from fuel.pump_prices as p
cross join lateral (
    select p.fuel_type
    union all
    select 'V-POWER'
    where p.fuel_type = 'PETROL' and not exists (select from fuel.pump_prices as v where v.fuel_type = 'V-POWER')
) as of (fuel_type)
group by of.fuel_type;

-- The limits of the checks, from rules/, in one row.
create view fuel.anomaly_limit as
select
    coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'factor'), 2)::double precision as efficiency_factor,
    coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'min_spans'), 5) as efficiency_min_spans,
    coalesce(max(l.value) filter (where l.code = 'duplicate_fill' and l.name = 'minutes'), 10) as duplicate_minutes,
    coalesce(max(l.value) filter (where l.code = 'too_frequent' and l.name = 'hours'), 12) as frequent_hours,
    coalesce(max(l.value) filter (where l.code = 'driver_changed' and l.name = 'hours'), 12) as driver_hours,
    coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'min_kes'), 50) as price_min_kes,
    coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'max_kes'), 500) as price_max_kes,
    coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'share'), 0.15) as price_share,
    coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'from_hour'), 22) as odd_from_hour,
    coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'to_hour'), 5) as odd_to_hour,
    coalesce(max(l.value) filter (where l.code = 'future_date' and l.name = 'hours'), 0) as future_hours
from fuel.check_limit as l;

-- Every live fill once, with what each check says of it. The judgements are made in one place (`judged`); most fills pass
-- them all, and only the others are turned into rows and words (`found`). A check without a line in rules/ is switched off.
create view reporting.v_fuel_anomalies as
with fills as (
    select
        f.id, f.plate, f.filled_at, f.fuel_type, f.litres, f.amount_kes, f.price_per_litre_kes, f.odometer_km, f.status, f.distance_km,
        f.span_litres, f.usual_km_per_litre, f.usual_spans, f.times_usual, f.before_km, f.after_km, f.from_km, f.from_at, f.max_km,
        f.before_id, f.before_at, f.other_fuel_type, f.twin_id, f.twin_at, f.vehicle_class, f.has_plate_shape
    from fuel.current_fill_facts as f
    union all
    select
        r.id, r.plate, r.filled_at, r.fuel_type, r.litres, r.amount_kes, r.price_per_litre_kes, r.odometer_km,
        case when r.odometer_km > 2000000 then 'odometer_outlier' when (r.odometer_km >= 1) is not true then 'missing_odometer' end,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        (select k.class from fuel.vehicle_class as k where r.plate ~ k.plate_pattern order by k.rank limit 1),
        coalesce(fuel.has_plate_shape(r.plate), false)
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null and (r.plate is null or r.filled_at is null)
),
measured as (
    select
        f.*,
        l.*,
        k.class, k.litres_min, k.litres_max,
        c.is_floor,
        f.filled_at at time zone 'Africa/Nairobi' as filled_at_eat,
        width_bucket((f.filled_at at time zone 'Africa/Nairobi')::date, c.valid_from) as cycle,
        c.valid_to, c.price_per_litre_kes as caps
    from fills as f
    cross join fuel.anomaly_limit as l
    left join fuel.vehicle_class as k
        on k.class = coalesce(f.vehicle_class, (select o.class from fuel.vehicle_class as o where o.plate_pattern is null order by o.rank limit 1))
    left join fuel.pump_price_caps as c on c.fuel_type = f.fuel_type
),
capped as (
    select
        m.*,
        case when m.filled_at_eat::date <= m.valid_to[m.cycle] then m.caps[m.cycle] end as cap_kes
    from measured as m
),
judged as (
    select
        m.*,
        m.status in ('odometer_outlier', 'odometer_rollback', 'odometer_jump', 'missing_odometer') as is_odd_odometer,
        m.usual_spans >= m.efficiency_min_spans
            and (m.times_usual < 1 / m.efficiency_factor or m.times_usual > m.efficiency_factor) as is_efficiency_outlier,
        m.twin_id is not null and m.filled_at - m.twin_at <= m.duplicate_minutes * interval '1 minute' as is_duplicate,
        m.filled_at - m.before_at < m.frequent_hours * interval '1 hour' as is_too_frequent,
        m.filled_at - m.before_at < m.driver_hours * interval '1 hour' as is_soon,
        m.other_fuel_type is not null as is_other_fuel,
        m.litres > 0 and m.litres not between m.litres_min and m.litres_max as is_implausible,
        m.amount_kes > 0
            and (
                m.price_per_litre_kes not between m.price_min_kes and m.price_max_kes
                or m.price_per_litre_kes < m.cap_kes * (1 - m.price_share)
                or (m.price_per_litre_kes > m.cap_kes * (1 + m.price_share) and not m.is_floor)
            ) as is_odd_price,
        case
            when m.odd_from_hour > m.odd_to_hour
                then extract(hour from m.filled_at_eat) >= m.odd_from_hour or extract(hour from m.filled_at_eat) < m.odd_to_hour
            else extract(hour from m.filled_at_eat) >= m.odd_from_hour and extract(hour from m.filled_at_eat) < m.odd_to_hour
        end
        -- A date without a time of day reads as midnight sharp.
        and m.filled_at_eat <> date_trunc('day', m.filled_at_eat) as is_odd_hour,
        m.filled_at > now() + m.future_hours * interval '1 hour' as is_in_future,
        not m.has_plate_shape as is_unknown_plate,
        m.fuel_type is null as is_unknown_fuel_type,
        (m.amount_kes > 0) is not true as is_without_amount,
        (m.litres > 0) is not true as is_without_litres
    from capped as m
)
select j.id, j.plate, j.filled_at, found.code, c.severity, found.value, found.expected, found.sentence
from judged as j
cross join lateral (
    select
        case
            when j.status = 'missing_odometer' then 'odometer_missing'
            when j.status = 'odometer_rollback' and j.odometer_km = j.from_km then 'odometer_unchanged'
            when j.status = 'odometer_rollback' or j.odometer_km < j.before_km then 'odometer_rollback'
            else 'odometer_jump'
        end as code,
        j.odometer_km::text as value,
        case
            when j.status = 'missing_odometer' then 'a reading'
            when j.odometer_km > 2000000 then 'at most 2000000'
            when j.status = 'odometer_outlier' then format('between %s and %s', j.before_km, j.after_km)
            when j.status = 'odometer_rollback' then format('more than %s', j.from_km)
            else format('at most %s', j.from_km + j.max_km)
        end as expected,
        case
            when j.status = 'missing_odometer' then 'No odometer reading: the litres of this fill count towards the next one.'
            when j.odometer_km > 2000000 then format('The odometer reads %s km, more than any vehicle has: check for a mistyped digit.', j.odometer_km)
            when j.status = 'odometer_outlier' then format(
                'The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', j.odometer_km, j.before_km, j.after_km
            )
            when j.odometer_km = j.from_km then format('The odometer reads %s km, as it did at the fill before: check whether it was copied.', j.odometer_km)
            when j.status = 'odometer_rollback' then format(
                'The odometer reads %s km, %s km less than at the fill before: check both readings.', j.odometer_km, j.from_km - j.odometer_km
            )
            else format(
                'The odometer reads %s km, %s km more than at the fill before (%s): check for a mistyped digit.', j.odometer_km,
                j.odometer_km - j.from_km, to_char(j.from_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD')
            )
        end as sentence
    where j.is_odd_odometer

    union all
    select
        'efficiency_outlier', round(j.distance_km / j.span_litres, 2)::text,
        format('%s to %s', round((j.usual_km_per_litre / j.efficiency_factor)::numeric, 2), round((j.usual_km_per_litre * j.efficiency_factor)::numeric, 2)),
        format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer.',
            round(j.distance_km / j.span_litres, 2), round(j.usual_km_per_litre::numeric, 2))
    where j.is_efficiency_outlier

    -- The fill against the fill before it.
    union all
    select
        'duplicate_fill', j.twin_id::text, format('not the same within %s minutes', trim_scale(j.duplicate_minutes)),
        format('The same litres and amount as record %s, %s minutes earlier: check whether it is one fill reported twice.',
            j.twin_id, round(extract(epoch from j.filled_at - j.twin_at) / 60))
    where j.is_duplicate

    union all
    select
        'too_frequent', format('%s hours', round(extract(epoch from j.filled_at - j.before_at) / 3600, 1)),
        format('%s hours or more', trim_scale(j.frequent_hours)),
        format('Filled %s hours after record %s: check whether both fills happened.',
            round(extract(epoch from j.filled_at - j.before_at) / 3600, 1), j.before_id)
    where j.is_too_frequent

    union all
    select
        'driver_changed', r.driver, before.driver,
        format('Another driver than %s hours earlier (record %s): check who had the vehicle.',
            round(extract(epoch from j.filled_at - j.before_at) / 3600, 1), j.before_id)
    from fuel.records as r
    join fuel.records as before on before.id = j.before_id
    where j.is_soon and r.id = j.id
    and lower(regexp_replace(r.driver, '\s+', ' ', 'g')) <> lower(regexp_replace(before.driver, '\s+', ' ', 'g'))

    union all
    select
        'fuel_type_changed', j.fuel_type, j.other_fuel_type,
        format('%s after %s at the fill before (record %s): check the fuel type and the plate.', j.fuel_type, j.other_fuel_type, j.before_id)
    where j.is_other_fuel

    -- The fill by itself.
    union all
    select
        'litres_implausible', trim_scale(j.litres)::text, format('%s to %s', trim_scale(j.litres_min), trim_scale(j.litres_max)),
        format('%s litres, where a vehicle of class %s takes %s to %s: check for a slipped decimal point.',
            trim_scale(j.litres), j.class, trim_scale(j.litres_min), trim_scale(j.litres_max))
    where j.is_implausible

    union all
    select
        'price_out_of_range', round(j.price_per_litre_kes, 2)::text,
        case
            when j.cap_kes is null then format('%s to %s', trim_scale(j.price_min_kes), trim_scale(j.price_max_kes))
            when j.is_floor then format('at least %s', round(j.cap_kes * (1 - j.price_share), 2))
            else format('%s to %s', round(j.cap_kes * (1 - j.price_share), 2), round(j.cap_kes * (1 + j.price_share), 2))
        end,
        format('%s KES a litre%s: check amount and litres.%s', round(j.price_per_litre_kes, 2),
            case when j.cap_kes is not null then format(', where the pump price was capped at %s', trim_scale(j.cap_kes)) end,
            case
                when j.price_per_litre_kes between j.price_min_kes and j.price_max_kes then null
                when j.amount_kes between j.price_min_kes and j.price_max_kes then ' The amount looks like a price per litre.'
                when j.price_per_litre_kes * 1000 between j.price_min_kes and j.price_max_kes then ' The amount looks a thousand times too small.'
                when j.price_per_litre_kes * 10 between j.price_min_kes and j.price_max_kes then ' The litres look ten times too large, or the amount ten times too small.'
                when j.price_per_litre_kes / 10 between j.price_min_kes and j.price_max_kes then ' The amount looks ten times too large, or the litres ten times too small.'
            end)
    where j.is_odd_price

    union all
    select
        'odd_hours', to_char(j.filled_at_eat, 'HH24:MI'),
        format('%s:00 to %s:00', lpad(trim_scale(j.odd_to_hour)::text, 2, '0'), lpad(trim_scale(j.odd_from_hour)::text, 2, '0')),
        format('Filled at %s at night: check the time of the fill.', to_char(j.filled_at_eat, 'HH24:MI'))
    where j.is_odd_hour

    union all
    select
        'future_date', to_char(j.filled_at_eat, 'YYYY-MM-DD HH24:MI'), 'not in the future',
        format('Dated %s, which is still to come: check the date.', to_char(j.filled_at_eat, 'YYYY-MM-DD'))
    where j.is_in_future

    union all
    select
        'unknown_plate', r.car, 'a number plate',
        case when r.plate is null then 'No plate: check which vehicle was filled.' else format('%s has the shape of no known plate: check which vehicle was filled.', r.car) end
    from fuel.records as r
    where j.is_unknown_plate and r.id = j.id

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
    where j.is_unknown_fuel_type and r.id = j.id

    union all
    select 'missing_amount', trim_scale(j.amount_kes)::text, 'an amount in KES', 'No amount, or none that can be read: check the receipt.'
    where j.is_without_amount

    union all
    select 'missing_litres', trim_scale(j.litres)::text, 'litres', 'No litres, or none that can be read: check the receipt.'
    where j.is_without_litres
) as found
join (select l.code, max(l.severity) as severity from fuel.check_limit as l group by l.code) as c on c.code = found.code
where j.is_odd_odometer or j.is_efficiency_outlier or j.is_duplicate or j.is_too_frequent or j.is_soon or j.is_other_fuel
or j.is_implausible or j.is_odd_price or j.is_odd_hour or j.is_in_future or j.is_unknown_plate or j.is_unknown_fuel_type
or j.is_without_amount or j.is_without_litres;

comment on view reporting.v_fuel_anomalies is 'One row per live fill and check worth a second look. Each asks somebody to check, none accuses anybody.';
