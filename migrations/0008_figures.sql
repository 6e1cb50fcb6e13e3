-- The formula: the figures of each fill, and what the checks find odd in it.

-- The caps of each fuel in the order of time: the n-th holds from the n-th day on. If two cycles overlap the later one
-- holds; if a cycle is not known the last known one is given, as old. V-Power is sold above the cap, never below it.
create view fuel.pump_price_caps as
select
    sold.fuel_type,
    bool_or(sold.fuel_type <> p.fuel_type) as is_floor,
    array_agg(known.since order by known.since) as since,
    array_agg(p.price_per_litre_kes order by known.since) as kes,
    array_agg(known.is_old order by known.since) as is_old
from (
    select p.*, lead(p.valid_from) over (partition by p.fuel_type order by p.valid_from) as next_from from fuel.pump_prices as p
) as p
cross join lateral (
    select p.fuel_type
    union all
    select brand.fuel_type
    from (values ('V-POWER', 'PETROL'), ('V-POWER DIESEL', 'DIESEL')) as brand (fuel_type, family)
    where brand.family = p.fuel_type and not exists (select from fuel.pump_prices as v where v.fuel_type = brand.fuel_type)
) as sold (fuel_type)
cross join lateral (
    select p.valid_from, false
    union all
    select p.valid_to + 1, true where p.valid_to + 1 < coalesce(p.next_from, 'infinity')
) as known (since, is_old)
group by sold.fuel_type;

-- Too many km on a litre: the record that is gone, or has no time of its own, and whose litres would make the span usual.
create function fuel.explaining_record(vehicle text, from_at timestamptz, filled_at timestamptz, km bigint, litres numeric, usual_km_per_litre double precision)
returns bigint
language sql stable parallel safe security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select r.id
    from fuel.records as r
    where r.vehicle = explaining_record.vehicle and r.litres between 0.01 and 1000000
    and (
        ((r.deleted_at is not null or r.absent_since is not null) and r.filled_at > explaining_record.from_at and r.filled_at <= explaining_record.filled_at)
        or (r.filled_at is null and r.deleted_at is null and r.absent_since is null)
        or (
            r.filled_at_is_assumed and r.deleted_at is null and r.absent_since is null
            and r.filled_at > explaining_record.filled_at and r.filled_at <= explaining_record.filled_at + interval '30 days'
        )
    )
    and abs(ln(explaining_record.km / (explaining_record.litres + r.litres) / explaining_record.usual_km_per_litre::numeric)) < 0.35
    order by abs(ln(explaining_record.km / (explaining_record.litres + r.litres) / explaining_record.usual_km_per_litre::numeric)), r.id
    limit 1;
end;

-- Every live fill, with what its consumption is and which checks find it odd. is_apart: no plate or no time.
create view fuel.computed_fill_facts as
with limits as materialized (
    select * from fuel.anomaly_limit
),
caps as materialized (
    select * from fuel.pump_price_caps
)
select
    f.is_apart, f.vehicle, f.filled_at, f.id, r.plate, r.car, r.driver, fuel.clean_driver(r.driver) as driver_name, r.department,
    r.filled_at_is_assumed, r.source_created_at as reported_at, r.fuel_type, f.fuel_family, r.litres, r.amount_kes, r.price_per_litre_kes, r.odometer_km,
    eat.filled_at as filled_at_eat, f.status, f.distance_km, f.span_litres, f.span_amount_kes, f.from_at, f.from_km,
    f.km_per_litre, f.litres_per_100km,
    case when f.distance_km > 0 then round(f.span_amount_kes / f.distance_km, 3) end as kes_per_km,
    f.rolling_km_per_litre, f.rolling_spans_used, f.usual_km_per_litre,
    f.km as odd_km, f.litres_since as odd_litres, f.is_too_fast, f.is_after_first,
    f.before_km, f.after_km, f.max_km, f.last_stop_id, f.before_id, f.before_at, f.usual_family, f.superseded_by, f.unclear_with, f.next_span_id,
    case
        when f.is_too_far and not f.is_mistyped
            then fuel.explaining_record(f.vehicle, f.from_at, f.filled_at, f.km, f.litres_since, f.usual_km_per_litre)
    end as explained_by,
    f.is_swapped, f.is_too_dear, f.vehicle_class, f.tank_litres,
    case when r.litres = f.most_litres then f.second_litres else f.most_litres end as most_litres,
    cap.kes as cap_kes, p.is_floor as cap_is_floor, cap.is_old as cap_is_old,
    -- What the checks of reporting.v_fuel_anomalies find, but for what changes with time or lies with another vehicle.
    nullif(array_remove(array[
        case
            when not f.is_vehicle or not f.has_odometer or f.status in ('superseded', 'other_fuel') then null
            when f.status = 'missing_odometer' then 'odometer_missing'
            when f.status = 'odometer_rollback' and r.odometer_km = f.from_km then 'odometer_unchanged'
            when f.status = 'odometer_rollback' or (f.is_odd_reading and r.odometer_km < f.before_km) then 'odometer_rollback'
            when f.is_misdated then null
            when f.status in ('odometer_outlier', 'odometer_jump') or f.is_odd_reading then 'odometer_jump'
            when f.status = 'fills_missing' then 'fills_missing'
            when f.is_excused then null
            when f.status = 'implausible' then 'implausible'
            when f.status = 'outlier' then 'efficiency_outlier'
        end,
        case when f.superseded_by is not null or f.unclear_with is not null then 'duplicate_fill' end,
        case when f.filled_at - f.before_at < l.frequent_within and f.has_clock and f.begins_stop and f.status <> 'other_fuel' then 'too_frequent' end,
        case when f.filled_at - f.before_at < l.driver_within and f.has_clock then (
            select 'driver_changed' from fuel.records as before
            where before.id = f.before_id and fuel.clean_driver(before.driver) <> fuel.clean_driver(r.driver)
        ) end,
        case when f.status = 'other_fuel' and not f.is_mixed and r.fuel_type <> 'ADBLUE' and f.usual_family is not null then 'fuel_type_changed' end,
        case
            when f.is_swapped then null
            when r.litres > f.tank_litres * (1 + l.tank_share) then 'over_capacity'
            when r.litres > l.far_above * case when r.litres = f.most_litres then f.second_litres else f.most_litres end then 'over_capacity'
            when r.litres > 0 and r.litres not between f.litres_min and f.litres_max and not (r.litres < f.litres_min and f.status in ('other_fuel', 'same_stop'))
                then 'litres_implausible'
        end,
        case
            when r.amount_kes > 0 and (
                r.price_per_litre_kes not between l.price_min_kes and l.price_max_kes
                or r.price_per_litre_kes < cap.kes * (1 - l.price_share * cap.tolerance)
                or (r.price_per_litre_kes > cap.kes * (1 + l.price_share * cap.tolerance) and not p.is_floor)
            ) and r.fuel_type is distinct from 'ADBLUE' then 'price_out_of_range'
        end,
        case
            when case
                when l.odd_from_hour > l.odd_to_hour then eat.hour >= l.odd_from_hour or eat.hour < l.odd_to_hour
                else eat.hour >= l.odd_from_hour and eat.hour < l.odd_to_hour
            end
            -- A date without a time of day reads as midnight sharp.
            and eat.filled_at <> date_trunc('day', eat.filled_at) and not r.filled_at_is_assumed then 'odd_hours'
        end,
        case
            when r.filled_at_is_assumed then case when fuel.said_time(r.raw) is null then 'missing_time' else 'impossible_time' end
            when f.filled_at is null then 'missing_time'
            when f.filled_at < r.source_created_at - l.late_after and fuel.is_usable_report(r.source_created_at, r.source_at) then 'reported_late'
        end,
        case when f.is_vehicle is not true and f.nth = 1 and f.superseded_by is null then 'unknown_plate' end,
        case when r.fuel_type is null then 'unknown_fuel_type' end,
        case when (r.amount_kes > 0) is not true then 'missing_amount' end,
        case when (r.litres > 0) is not true then 'missing_litres' end
    ], null), '{}') as findings
from (
    select
        false as is_apart, s.vehicle, s.filled_at, s.id, s.family as fuel_family, s.status,
        -- Consumption.
        case when s.status in ('ok', 'outlier', 'no_litres') then s.km end as distance_km,
        case when s.status in ('ok', 'outlier') then s.litres_since end as span_litres,
        case when s.status in ('ok', 'outlier', 'no_litres') and s.with_kes_since = s.fills_since then s.kes_since end as span_amount_kes,
        case when s.status in ('ok', 'outlier') then round(s.km / s.litres_since, 3) end as km_per_litre,
        case when s.status in ('ok', 'outlier') then round(s.litres_since * 100 / s.km, 3) end as litres_per_100km,
        case when s.status = 'ok' then round(s.rolling_km / s.rolling_litres, 3) end as rolling_km_per_litre,
        case when s.status = 'ok' then s.rolling_count end as rolling_spans_used,
        (s.usual).km_per_litre as usual_km_per_litre,
        s.km, s.litres_since, s.is_too_fast, s.is_span,
        s.status in ('outlier', 'implausible', 'fills_missing') and s.km > s.litres_since * (s.usual).km_per_litre::numeric as is_too_far,
        -- What an odd reading is held against.
        s.is_odd_reading,
        case when s.is_odd_reading then s.before_km end as before_km,
        case when s.is_odd_reading then s.after_km end as after_km,
        case when s.carries then s.from_km end as from_km,
        case when s.carries then s.from_at end as from_at,
        s.nth_stop = 2 as is_after_first,
        case when s.status in ('odometer_rollback', 'odometer_jump', 'fills_missing') or s.is_too_fast then s.last_stop_id end as last_stop_id,
        s.max_km,
        -- The fill before, and what is to be said of it.
        case when s.status <> 'superseded' then s.before_id end as before_id,
        case when s.status <> 'superseded' then s.before_at end as before_at,
        s.begins_stop, s.has_clock and (s.before_at at time zone fuel.feed_zone())::time <> '00:00' as has_clock, s.is_mixed, s.usual_family, s.superseded_by, coalesce(s.unclear_with, s.repeats_id, case when s.is_double then s.last_stop_id end) as unclear_with,
        case when s.is_mistyped then s.next_span_id end as next_span_id,
        s.is_misdated, s.is_mistyped, s.is_excused, s.is_swapped, s.is_too_dear, s.nth, s.vehicle_class, s.litres_min, s.litres_max, s.is_known,
        s.has_odometer, s.tank_litres, s.has_plate_shape or s.is_known as is_vehicle, s.most_litres, s.second_litres
    from fuel.judged_fills as s
    union all
    select
        true, r.vehicle, r.filled_at, r.id, fuel.family_of(r.fuel_type),
        case when r.odometer_km > 2000000 then 'odometer_outlier' when (r.odometer_km >= 1) is not true then 'missing_odometer' end,
        null, null, null, null, null, null, null, null, null, null, false, false, false, false, null, null, null, null, false, null, null, null, null,
        true, false, false, null, null, null, null, false, false, false,
        coalesce(
            r.amount_kes > 0 and r.price_per_litre_kes < l.price_min_kes
            and r.litres between r.amount_kes * l.price_min_kes and r.amount_kes * l.price_max_kes, false
        ),
        coalesce(r.price_per_litre_kes > l.price_believable_kes, false), 1,
        c.class, c.litres_min, c.litres_max, known.vehicle is not null, coalesce(known.has_odometer, true), known.tank_litres,
        fuel.has_plate_shape(r.vehicle) or known.vehicle is not null, null, null
    from fuel.records as r
    cross join limits as l
    left join lateral (select k.* from fuel.known_vehicle as k where k.vehicle = r.vehicle order by k.plate limit 1) as known on true
    left join lateral (
        select k.* from fuel.vehicle_class as k
        where k.class = known.class or (known.class is null and (k.plate_pattern is null or r.vehicle ~ k.plate_pattern))
        order by k.plate_pattern is null, k.rank limit 1
    ) as c on true
    where r.deleted_at is null and r.absent_since is null and (r.vehicle is null or r.filled_at is null)
) as f
join fuel.records as r on r.id = f.id
cross join limits as l
left join caps as p on p.fuel_type = r.fuel_type
cross join lateral (
    select local.filled_at, extract(hour from local.filled_at) as hour
    from (select f.filled_at at time zone 'Africa/Nairobi' as filled_at offset 0) as local
    offset 0
) as eat
cross join lateral (
    select p.kes[known.nth] as kes, p.is_old[known.nth] as is_old, case when p.is_old[known.nth] then 2 else 1 end as tolerance
    from (select width_bucket(eat.filled_at::date, p.since) as nth) as known
    offset 0
) as cap;
