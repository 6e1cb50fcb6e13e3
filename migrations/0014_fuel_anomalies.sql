-- Fills worth a second look, one row per fill and check, in plain words. Which checks run, and how strictly, is said in rules/.

-- How long, in words: 1 minute, 35 minutes, 1.5 hours, 3 days.
create function fuel.time_in_words(between_them interval) returns text
language sql immutable parallel safe
return case
    when extract(epoch from between_them) / 60 < 1 then 'less than a minute'
    when extract(epoch from between_them) / 60 < 90 then
        round(extract(epoch from between_them) / 60)::text || case when round(extract(epoch from between_them) / 60) = 1 then ' minute' else ' minutes' end
    when extract(epoch from between_them) / 60 < 2880 then trim_scale(round(extract(epoch from between_them) / 60 / 60, 1))::text || ' hours'
    else round(extract(epoch from between_them) / 60 / 1440)::text || ' days'
end;

-- What each check finds is decided with the facts of a fill (fuel.computed_fill_facts); here it gets its words. A check
-- without a line in rules/ is switched off. A finding stands on the record most likely wrong and names the other.
create view reporting.v_fuel_anomalies as
select
    f.id, f.plate, f.filled_at, f.code, c.severity, said.value, said.expected, said.sentence,
    f.filled_at_eat::date as filled_on, f.driver_name, f.department, device.cost_centre, f.amount_kes, said.other_id
from (select x.*, unnest(x.findings) as code from fuel.current_fill_facts as x where x.findings is not null) as f
join fuel.enabled_check as c on c.code = f.code
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
left join fuel.vehicle_class as k on k.class = f.vehicle_class
cross join fuel.anomaly_limit as l
cross join lateral (
    select
        case f.code
            when 'efficiency_outlier' then trim_scale(f.km_per_litre)::text
            when 'odd_hours' then to_char(f.filled_at_eat, 'HH24:MI')
            when 'implausible' then
                case when f.is_too_fast then format('%s km in %s', f.odd_km, fuel.time_in_words(f.filled_at - f.from_at)) else trim_scale(round(f.odd_km / f.odd_litres, 3))::text end
            when 'price_out_of_range' then round(f.price_per_litre_kes, 2)::text
            when 'duplicate_fill' then coalesce(f.superseded_by, f.unclear_with)::text
            when 'odometer_missing' then f.odometer_km::text
            when 'odometer_jump' then f.odometer_km::text
            when 'odometer_rollback' then f.odometer_km::text
            when 'odometer_unchanged' then f.odometer_km::text
            when 'fills_missing' then f.odometer_km::text
            when 'too_frequent' then fuel.time_in_words(f.filled_at - f.before_at)
            when 'driver_changed' then f.driver_name
            when 'fuel_type_changed' then f.fuel_type
            when 'litres_implausible' then trim_scale(round(f.litres, 3))::text
            when 'over_capacity' then trim_scale(round(f.litres, 3))::text
            when 'missing_litres' then trim_scale(round(f.litres, 3))::text
            when 'missing_amount' then trim_scale(round(f.amount_kes, 2))::text
            when 'reported_late' then to_char(f.filled_at_eat, 'YYYY-MM-DD')
            when 'unknown_plate' then f.car
            else record.reported -- unknown_fuel_type, missing_time, impossible_time
        end as value,
        case f.code
            when 'duplicate_fill' then coalesce(f.superseded_by, f.unclear_with)
            when 'too_frequent' then f.before_id
            when 'driver_changed' then f.before_id
            when 'efficiency_outlier' then coalesce(f.next_span_id, f.explained_by)
            when 'implausible' then coalesce(f.next_span_id, f.explained_by, f.last_stop_id)
            when 'fills_missing' then coalesce(f.explained_by, f.last_stop_id)
            when 'odometer_rollback' then f.last_stop_id
            when 'odometer_jump' then f.last_stop_id
            when 'odometer_unchanged' then f.last_stop_id
        end as other_id,
        case f.code
            when 'odometer_missing' then 'a reading'
            when 'odometer_unchanged' then format('more than %s', f.from_km)
            when 'odometer_rollback' then
                case when f.before_km is not null then format('between %s and %s', f.before_km, f.after_km) else format('more than %s', f.from_km) end
            when 'odometer_jump' then
                case
                    when f.odometer_km > 2000000 then 'at most 2000000'
                    when f.before_km is not null then format('between %s and %s', f.before_km, f.after_km)
                    else format('at most %s', f.from_km + f.max_km)
                end
            when 'fills_missing' then format('fills between %s and %s km', f.from_km, f.odometer_km)
            when 'efficiency_outlier' then format('about %s', trim_scale(round(f.usual_km_per_litre::numeric, 2)))
            when 'implausible' then
                case
                    when f.is_too_fast then 'a speed a vehicle can reach'
                    else format('%s to %s', trim_scale(k.km_per_litre_min), trim_scale(k.km_per_litre_max))
                end
            when 'duplicate_fill' then 'one record for each fill'
            when 'too_frequent' then format('%s hours or more', trim_scale(l.frequent_hours))
            when 'driver_changed' then record.driver_before
            when 'fuel_type_changed' then f.usual_family
            when 'litres_implausible' then format('%s to %s', trim_scale(k.litres_min), trim_scale(k.litres_max))
            when 'over_capacity' then format('at most %s', trim_scale(round(coalesce(f.tank_litres, f.most_litres), 3)))
            when 'price_out_of_range' then
                case
                    when f.cap_kes is null then format('%s to %s', trim_scale(l.price_min_kes), trim_scale(l.price_max_kes))
                    when f.cap_is_floor then format('at least %s', round(f.cap_kes * (1 - l.price_share * p.tolerance), 2))
                    else format('%s to %s', round(f.cap_kes * (1 - l.price_share * p.tolerance), 2), round(f.cap_kes * (1 + l.price_share * p.tolerance), 2))
                end
            when 'odd_hours' then format('%s:00 to %s:00', lpad(trim_scale(l.odd_to_hour)::text, 2, '0'), lpad(trim_scale(l.odd_from_hour)::text, 2, '0'))
            when 'missing_time' then 'the time of the fill'
            when 'impossible_time' then 'not after the report'
            when 'reported_late' then format('reported within %s days', trim_scale(l.late_days))
            when 'unknown_plate' then 'a number plate'
            when 'unknown_fuel_type' then 'a fuel type rules/ knows'
            when 'missing_amount' then 'an amount in KES'
            when 'missing_litres' then 'litres'
        end as expected,
        case f.code
            when 'odometer_missing' then 'No odometer reading: the litres of this fill count towards the next one.'
            when 'odometer_unchanged' then format('The odometer reads %s km, as it did at the fill before: check whether it was copied.', f.odometer_km)
            when 'odometer_rollback' then
                case
                    when f.before_km is not null then format('The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', f.odometer_km, f.before_km, f.after_km)
                    else format('The odometer reads %s km, %s km less than at the fill before: check both readings.', f.odometer_km, f.from_km - f.odometer_km)
                end
            when 'odometer_jump' then
                case
                    when f.odometer_km > 2000000 then format('The odometer reads %s km, more than any vehicle has: check for a mistyped digit.', f.odometer_km)
                    when f.before_km is not null then format('The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', f.odometer_km, f.before_km, f.after_km)
                    when f.is_after_first then format('The odometer reads %s km, %s km more than at the first fill (%s): check both readings.',
                        f.odometer_km, f.odometer_km - f.from_km, to_char(f.from_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD'))
                    else format('The odometer reads %s km, %s km more than at the fill before (%s): check for a mistyped digit.',
                        f.odometer_km, f.odometer_km - f.from_km, to_char(f.from_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD'))
                end
            when 'fills_missing' then format('%s km since the fill before, %s ago: fills between them are missing, check where they are.%s',
                f.odometer_km - f.from_km, fuel.time_in_words(f.filled_at - f.from_at), record.explanation)
            when 'efficiency_outlier' then
                case
                    when f.next_span_id is not null then format('%s km on a litre, where this vehicle usually makes %s, and as far off the other way at the fill after (record %s): check this odometer reading.',
                        trim_scale(f.km_per_litre), trim_scale(round(f.usual_km_per_litre::numeric, 2)), f.next_span_id)
                    when f.km_per_litre > f.usual_km_per_litre then format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer, or a fill before it is missing.%s',
                        trim_scale(f.km_per_litre), trim_scale(round(f.usual_km_per_litre::numeric, 2)), record.explanation)
                    else format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer, or whether a fill was reported twice.',
                        trim_scale(f.km_per_litre), trim_scale(round(f.usual_km_per_litre::numeric, 2)))
                end
            when 'implausible' then
                case
                    when f.is_too_fast then format('%s km in %s since the fill before: check the odometer and the time of both fills.', f.odd_km, fuel.time_in_words(f.filled_at - f.from_at))
                    when f.next_span_id is not null then format('%s km on a litre, and far off the other way at the fill after (record %s): check this odometer reading.', trim_scale(round(f.odd_km / f.odd_litres, 3)), f.next_span_id)
                    when f.odd_km > f.odd_litres * k.km_per_litre_max then format('%s km on a litre, where a vehicle of class %s makes %s to %s: check litres and odometer, or a fill before it is missing.%s',
                        trim_scale(round(f.odd_km / f.odd_litres, 3)), k.class, trim_scale(k.km_per_litre_min), trim_scale(k.km_per_litre_max), record.explanation)
                    else format('%s km on a litre, where a vehicle of class %s makes %s to %s: check litres and odometer.',
                        trim_scale(round(f.odd_km / f.odd_litres, 3)), k.class, trim_scale(k.km_per_litre_min), trim_scale(k.km_per_litre_max))
                end
            when 'duplicate_fill' then
                case
                    when f.superseded_by is not null then format('Reported again as record %s, %s: check which is right; this one is left out of consumption and spend.',
                        f.superseded_by, coalesce('which differs in ' || record.differences, 'the same in all'))
                    else record.doubt
                end
            when 'too_frequent' then format('Filled %s after record %s: check whether both fills happened.', fuel.time_in_words(f.filled_at - f.before_at), f.before_id)
            when 'driver_changed' then format('Another driver than %s earlier (record %s): check who had the vehicle.', fuel.time_in_words(f.filled_at - f.before_at), f.before_id)
            when 'fuel_type_changed' then format('%s, where this vehicle takes %s: check the fuel type and the plate.', f.fuel_type, f.usual_family)
            when 'litres_implausible' then format('%s litres, where a vehicle of class %s takes %s to %s: check for a slipped decimal point.',
                trim_scale(round(f.litres, 3)), k.class, trim_scale(k.litres_min), trim_scale(k.litres_max))
            when 'over_capacity' then
                case
                    when f.tank_litres is not null then format('%s litres, where the tank holds %s: check the litres and the plate.', trim_scale(round(f.litres, 3)), trim_scale(f.tank_litres))
                    else format('%s litres, where this vehicle never took more than %s: check for a slipped decimal point.', trim_scale(round(f.litres, 3)), trim_scale(round(f.most_litres, 3)))
                end
            when 'price_out_of_range' then
                case
                    when f.is_swapped then format('%s litres for %s KES: litres and amount look swapped, check both; they are left out of the sums.', trim_scale(round(f.litres, 3)), trim_scale(round(f.amount_kes, 2)))
                    else format('%s KES a litre%s: check amount and litres.%s', round(f.price_per_litre_kes, 2),
                        case
                            when f.cap_kes is null then null
                            when f.cap_is_old then format(', where the pump price was capped at about %s (the last known)', trim_scale(f.cap_kes))
                            else format(', where the pump price was capped at %s', trim_scale(f.cap_kes))
                        end,
                        case when f.price_per_litre_kes between l.price_min_kes and l.price_max_kes then null else concat(
                            case
                                when f.amount_kes between l.price_min_kes and l.price_max_kes then ' The amount looks like a price per litre.'
                                when f.price_per_litre_kes * 1000 between l.price_min_kes and l.price_max_kes then ' The amount looks a thousand times too small.'
                                when f.price_per_litre_kes * 10 between l.price_min_kes and l.price_max_kes then ' The litres look ten times too large, or the amount ten times too small.'
                                when f.price_per_litre_kes / 10 between l.price_min_kes and l.price_max_kes then ' The amount looks ten times too large, or the litres ten times too small.'
                            end,
                            case
                                when f.is_too_dear then format(' Or is it another currency? As Ugandan shillings it would be about %s KES. The amount is left out of the sums.', round(f.amount_kes / l.ugx_per_kes))
                            end
                        ) end)
                end
            when 'odd_hours' then format('Filled at %s at night: check the time of the fill.', to_char(f.filled_at_eat, 'HH24:MI'))
            when 'missing_time' then
                case
                    when f.filled_at is null then 'No time of the fill, and none of its report: check when it was.'
                    else format('No time of the fill: it stands at the time of its report, %s; check when it was.', to_char(f.filled_at_eat, 'YYYY-MM-DD HH24:MI'))
                end
            when 'impossible_time' then format('Dated %s, after its own report: it stands at the time of the report, %s; check the date.', record.reported, to_char(f.filled_at_eat, 'YYYY-MM-DD HH24:MI'))
            when 'reported_late' then format('Dated %s, but reported %s later: check the date.', to_char(f.filled_at_eat, 'YYYY-MM-DD'), fuel.time_in_words(f.reported_at - f.filled_at))
            when 'unknown_plate' then
                case
                    when f.plate is null then 'No plate: check which vehicle was filled.'
                    else format('%s has the shape of no known plate: check which vehicle was filled, or name it in rules/vehicles.toml.', left(f.car, 200))
                end
            when 'unknown_fuel_type' then
                coalesce('Fuel type ' || record.reported || ' is not known: check what was filled.', 'No fuel type: check what was filled.')
            when 'missing_amount' then
                case
                    when f.amount_kes = 0 then 'The amount is zero: check the receipt.'
                    when f.amount_kes < 0 then format('The amount is negative (%s KES): check the receipt.', trim_scale(round(f.amount_kes, 2)))
                    else 'No amount, or none that can be read: check the receipt.'
                end
            when 'missing_litres' then
                case
                    when f.litres = 0 then 'The litres are zero: check the receipt.'
                    when f.litres < 0 then format('The litres are negative (%s): check the receipt.', trim_scale(round(f.litres, 3)))
                    else 'No litres, or none that can be read: check the receipt.'
                end
        end as sentence
    from (select case when f.cap_is_old then 2 else 1 end as tolerance) as p
    -- What the records themselves say. Each is a question of its own, asked only where a sentence needs it.
    cross join lateral (
        select
            (
                select left(r.raw ->> s.alias, 200)
                from fuel.records as r
                cross join fuel.source_field as s
                where r.id = f.id and s.field = case f.code when 'unknown_fuel_type' then 'fuel_type' else 'filled_at' end
                and btrim(r.raw ->> s.alias) <> ''
                order by s.rank
                limit 1
            ) as reported,
            (
                select nullif(concat_ws(', ',
                    case when r.litres is distinct from f.litres then 'litres' end,
                    case when r.amount_kes is distinct from f.amount_kes then 'the amount' end,
                    case when r.odometer_km is distinct from f.odometer_km then 'the odometer' end,
                    case when r.filled_at is distinct from f.filled_at then 'the time' end,
                    case when r.driver is distinct from f.driver then 'the driver' end,
                    case when r.fuel_type is distinct from f.fuel_type then 'the fuel' end
                ), '')
                from fuel.records as r
                where r.id = f.superseded_by
            ) as differences,
            (
                select case
                    when r.filled_at = f.filled_at then format('The same time, litres, amount and odometer as record %s: check whether it is one fill reported twice.', r.id)
                    else format('The same litres, amount and odometer as record %s, filled %s apart: check whether it is one fill reported twice.', r.id,
                        fuel.time_in_words(greatest(f.filled_at - r.filled_at, r.filled_at - f.filled_at)))
                end
                from fuel.records as r
                where r.id = f.unclear_with
            ) as doubt,
            case when f.explained_by is not null then (
                select format(' Record %s would explain it: it %s.', r.id,
                    case when r.deleted_at is not null or r.absent_since is not null then 'was deleted' else 'has no time of its own' end)
                from fuel.records as r
                where r.id = f.explained_by
            ) end as explanation,
            (select fuel.clean_driver(r.driver) from fuel.records as r where r.id = f.before_id) as driver_before
    ) as record
) as said

-- What lies ahead today is the past tomorrow: this is never stored.
union all
select
    r.id, r.plate, r.filled_at, 'impossible_time', c.severity, to_char(r.filled_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD HH24:MI'),
    'not in the future',
    format('Dated %s, which is still to come: check the date.', to_char(r.filled_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD')),
    (r.filled_at at time zone 'Africa/Nairobi')::date, fuel.clean_driver(r.driver), r.department, device.cost_centre, r.amount_kes, null
from fuel.enabled_check as c
cross join fuel.records as r
left join fuel.vehicle_devices as device on device.vehicle = r.vehicle
where c.code = 'impossible_time' and r.deleted_at is null and r.absent_since is null and r.filled_at > now() + interval '1 day'

-- What lies with another vehicle is not stored either.
union all
select
    e.id, e.plate, e.filled_at, 'edited_plate', c.severity, shown.car, 'one vehicle',
    format('The same driver, litres, amount and odometer as record %s on another plate (%s): check which vehicle was filled.', e.other_id, left(shown.other_car, 200)),
    (e.filled_at at time zone 'Africa/Nairobi')::date, fuel.clean_driver(shown.driver), shown.department, device.cost_centre, shown.amount_kes, e.other_id
from fuel.enabled_check as c
cross join fuel.edited_plates as e
-- Of the few that were found: the rest of each record is not read before.
cross join lateral (
    select r.car, r.driver, r.department, r.amount_kes, other.car as other_car
    from fuel.records as r
    cross join fuel.records as other
    where r.id = e.id and other.id = e.other_id
    offset 0
) as shown
left join fuel.vehicle_devices as device on device.vehicle = e.vehicle
where c.code = 'edited_plate';
