-- Fills worth a second look, one row per fill and check, in plain words. Which checks run, and how strictly, is said in rules/.

-- What each check finds is decided with the facts of a fill (fuel.computed_fill_facts); here it gets its words. A check
-- without a line in rules/ is switched off.
create view reporting.v_fuel_anomalies as
select f.id, f.plate, f.filled_at, found.code, c.severity, said.value, said.expected, said.sentence
from fuel.current_fill_facts as f
cross join fuel.anomaly_limit as l
cross join lateral unnest(f.findings) as found (code)
join (select l.code, max(l.severity) as severity from fuel.check_limit as l group by l.code) as c on c.code = found.code
left join fuel.vehicle_class as k on k.class = f.vehicle_class
cross join lateral (
    select
        case
            when found.code like 'odometer%' then f.odometer_km::text
            when found.code = 'efficiency_outlier' then round(f.distance_km / f.span_litres, 2)::text
            when found.code = 'duplicate_fill' then f.twin_id::text
            when found.code = 'too_frequent' then format('%s hours', round(extract(epoch from f.filled_at - f.before_at) / 3600, 1))
            when found.code = 'driver_changed' then (select r.driver from fuel.records as r where r.id = f.id)
            when found.code = 'fuel_type_changed' then f.fuel_type
            when found.code in ('litres_implausible', 'missing_litres') then trim_scale(f.litres)::text
            when found.code = 'missing_amount' then trim_scale(f.amount_kes)::text
            when found.code = 'price_out_of_range' then round(f.price_per_litre_kes, 2)::text
            when found.code = 'odd_hours' then to_char(f.filled_at_eat, 'HH24:MI')
            when found.code = 'unknown_plate' then (select r.car from fuel.records as r where r.id = f.id)
            when found.code = 'unknown_fuel_type' then (
                select (array_agg(r.raw ->> s.alias order by s.rank) filter (where btrim(r.raw ->> s.alias) <> ''))[1]
                from fuel.records as r
                cross join fuel.source_field as s
                where r.id = f.id and s.field = 'fuel_type'
            )
        end as value
    offset 0
) as seen
cross join lateral (
    select
        seen.value,
        case found.code
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
            when 'efficiency_outlier' then format(
                '%s to %s', round((f.usual_km_per_litre / l.efficiency_factor)::numeric, 2), round((f.usual_km_per_litre * l.efficiency_factor)::numeric, 2)
            )
            when 'duplicate_fill' then format('not the same within %s minutes', trim_scale(l.duplicate_minutes))
            when 'too_frequent' then format('%s hours or more', trim_scale(l.frequent_hours))
            when 'driver_changed' then (select r.driver from fuel.records as r where r.id = f.before_id)
            when 'fuel_type_changed' then f.other_fuel_type
            when 'litres_implausible' then format('%s to %s', trim_scale(k.litres_min), trim_scale(k.litres_max))
            when 'price_out_of_range' then
                case
                    when f.cap_kes is null then format('%s to %s', trim_scale(l.price_min_kes), trim_scale(l.price_max_kes))
                    when f.cap_is_floor then format('at least %s', round(f.cap_kes * l.price_least, 2))
                    else format('%s to %s', round(f.cap_kes * l.price_least, 2), round(f.cap_kes * l.price_most, 2))
                end
            when 'odd_hours' then format('%s:00 to %s:00', lpad(trim_scale(l.odd_to_hour)::text, 2, '0'), lpad(trim_scale(l.odd_from_hour)::text, 2, '0'))
            when 'unknown_plate' then 'a number plate'
            when 'unknown_fuel_type' then 'a fuel type rules/ knows'
            when 'missing_amount' then 'an amount in KES'
            when 'missing_litres' then 'litres'
        end as expected,
        case found.code
            when 'odometer_missing' then 'No odometer reading: the litres of this fill count towards the next one.'
            when 'odometer_unchanged' then format('The odometer reads %s km, as it did at the fill before: check whether it was copied.', seen.value)
            when 'odometer_rollback' then
                case
                    when f.before_km is not null then format('The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', seen.value, f.before_km, f.after_km)
                    else format('The odometer reads %s km, %s km less than at the fill before: check both readings.', seen.value, f.from_km - f.odometer_km)
                end
            when 'odometer_jump' then
                case
                    when f.odometer_km > 2000000 then format('The odometer reads %s km, more than any vehicle has: check for a mistyped digit.', seen.value)
                    when f.before_km is not null then format('The odometer reads %s km between fills at %s and %s km: check for a mistyped digit.', seen.value, f.before_km, f.after_km)
                    else format('The odometer reads %s km, %s km more than at the fill before (%s): check for a mistyped digit.',
                        seen.value, f.odometer_km - f.from_km, to_char(f.from_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD'))
                end
            when 'efficiency_outlier' then format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer.',
                seen.value, round(f.usual_km_per_litre::numeric, 2))
            when 'duplicate_fill' then format('The same litres and amount as record %s, %s minutes earlier: check whether it is one fill reported twice.',
                seen.value, round(extract(epoch from f.filled_at - f.twin_at) / 60))
            when 'too_frequent' then format('Filled %s after record %s: check whether both fills happened.', seen.value, f.before_id)
            when 'driver_changed' then format('Another driver than %s hours earlier (record %s): check who had the vehicle.',
                round(extract(epoch from f.filled_at - f.before_at) / 3600, 1), f.before_id)
            when 'fuel_type_changed' then format('%s after %s at the fill before (record %s): check the fuel type and the plate.',
                seen.value, f.other_fuel_type, f.before_id)
            when 'litres_implausible' then format('%s litres, where a vehicle of class %s takes %s to %s: check for a slipped decimal point.',
                seen.value, k.class, trim_scale(k.litres_min), trim_scale(k.litres_max))
            when 'price_out_of_range' then format('%s KES a litre%s: check amount and litres.%s', seen.value,
                case when f.cap_kes is not null then format(', where the pump price was capped at %s', trim_scale(f.cap_kes)) end,
                case
                    when f.price_per_litre_kes between l.price_min_kes and l.price_max_kes then null
                    when f.amount_kes between l.price_min_kes and l.price_max_kes then ' The amount looks like a price per litre.'
                    when f.price_per_litre_kes * 1000 between l.price_min_kes and l.price_max_kes then ' The amount looks a thousand times too small.'
                    when f.price_per_litre_kes * 10 between l.price_min_kes and l.price_max_kes then ' The litres look ten times too large, or the amount ten times too small.'
                    when f.price_per_litre_kes / 10 between l.price_min_kes and l.price_max_kes then ' The amount looks ten times too large, or the litres ten times too small.'
                end)
            when 'odd_hours' then format('Filled at %s at night: check the time of the fill.', seen.value)
            when 'unknown_plate' then
                case when f.plate is null then 'No plate: check which vehicle was filled.' else format('%s has the shape of no known plate: check which vehicle was filled.', seen.value) end
            when 'unknown_fuel_type' then
                case when seen.value is null then 'No fuel type: check what was filled.' else format('Fuel type %s is not known: check what was filled.', seen.value) end
            when 'missing_amount' then 'No amount, or none that can be read: check the receipt.'
            when 'missing_litres' then 'No litres, or none that can be read: check the receipt.'
        end as sentence
) as said
where f.findings is not null

-- What lies ahead today is the past tomorrow: this is never stored.
union all
select
    r.id, r.plate, r.filled_at, 'future_date', c.severity, to_char(r.filled_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD HH24:MI'),
    'not in the future',
    format('Dated %s, which is still to come: check the date.', to_char(r.filled_at at time zone 'Africa/Nairobi', 'YYYY-MM-DD'))
from (select max(l.severity) as severity from fuel.check_limit as l where l.code = 'future_date' having count(*) > 0) as c
cross join fuel.records as r
where r.deleted_at is null and r.absent_since is null and r.filled_at > (select now() + l.future_within from fuel.anomaly_limit as l);

comment on view reporting.v_fuel_anomalies is 'One row per live fill and check worth a second look. Each asks somebody to check, none accuses anybody.';
