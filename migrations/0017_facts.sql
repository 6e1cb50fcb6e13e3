-- Reports of a million fills within 1.5 times what they took when they knew of no twins, stops or edited plates
-- (tests/bench/README.md, "Views"). Each says what it said before:
--
--     a row of fuel.fill_facts is a fifth smaller
--     a stored row is found along the table's indexes, whatever is stale
--     edited plates are looked for among the few readings that several vehicles have (fuel.equal_readings)
--     words are found by functions, so that the server's workers share them
--
-- Reports are replaced, never dropped: others may have views of their own on them. What they stood on before goes in the end.

alter view fuel.computed_fill_facts rename to full_fill_facts;
alter view fuel.current_fill_facts rename to released_fill_facts_view;
alter table fuel.fill_facts rename to released_fill_facts;
alter function fuel.facts_of(text) rename to released_facts_of;
alter function fuel.facts_apart() rename to released_facts_apart;
alter view fuel.equal_readings rename to released_equal_readings;

-- Facts of fills ----------------------------------------------------------------------------------------------------

-- What the formula gives (fuel.full_fill_facts, made in 0008), as it is stored. What only the words of a finding need is left out
-- where there is none, and the columns stand in the order in which a row takes the least room.
create view fuel.computed_fill_facts as
select
    f.filled_at, f.id, f.filled_at_eat, f.findings, f.reported_at, f.odometer_km,
    f.distance_km, f.from_at, f.from_km, f.usual_km_per_litre, f.rolling_spans_used, f.superseded_by, f.unclear_with,
    f.before_km, f.after_km, f.last_stop_id, f.next_span_id, f.explained_by,
    case when f.findings is not null then f.odd_km end as odd_km,
    case when f.findings is not null then f.max_km end as max_km,
    case when f.findings is not null then f.before_id end as before_id,
    case when f.findings is not null then f.before_at end as before_at,
    f.is_apart, f.filled_at_is_assumed, f.is_too_fast, f.is_after_first, f.is_swapped, f.is_too_dear, f.cap_is_floor, f.cap_is_old,
    f.vehicle, f.plate, f.status, f.litres, f.amount_kes, f.span_litres, f.span_amount_kes, f.km_per_litre, f.rolling_km_per_litre,
    f.litres_per_100km, f.kes_per_km, f.price_per_litre_kes, f.cap_kes, f.fuel_type, f.fuel_family, f.vehicle_class,
    f.car, f.driver, f.driver_name, f.department,
    case when f.findings is not null then f.odd_litres end as odd_litres,
    case when f.findings is not null then f.most_litres end as most_litres,
    case when f.findings is not null then f.tank_litres end as tank_litres,
    case when f.findings is not null then f.usual_family end as usual_family
from fuel.full_fill_facts as f;

create table fuel.fill_facts as table fuel.computed_fill_facts with no data;

-- As in 0012.
create function fuel.facts_of(vehicle text) returns setof fuel.computed_fill_facts
language plpgsql stable parallel safe rows 100 security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    return query select f.* from fuel.computed_fill_facts as f where f.vehicle = facts_of.vehicle and not f.is_apart;
end
$$;

create function fuel.facts_apart() returns setof fuel.computed_fill_facts
language plpgsql stable parallel safe rows 10 security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
    -- Mostly there are none, and planning the formula takes longer than most questions.
    if exists (select from fuel.records as r where r.deleted_at is null and r.absent_since is null and (r.vehicle is null or r.filled_at is null)) then
        return query select f.* from fuel.computed_fill_facts as f where f.is_apart;
    end if;
end
$$;

comment on function fuel.facts_of(text) is 'What fuel.computed_fill_facts gives for one vehicle.';
comment on function fuel.facts_apart() is 'What fuel.computed_fill_facts gives for fills without a plate or a time.';

-- The facts of a vehicle that is stale come from the formula, all others from the table. That one is left whole, and its stale
-- rows are left out afterwards, so that the planner may walk along its indexes: the latest hundred fills are a hundred rows.
create view fuel.current_fill_facts as
select
    f.filled_at, f.id, f.filled_at_eat, f.findings, f.reported_at, f.odometer_km, f.distance_km, f.from_at, f.from_km,
    f.usual_km_per_litre, f.rolling_spans_used, f.superseded_by, f.unclear_with, f.before_km, f.after_km, f.last_stop_id,
    f.next_span_id, f.explained_by, f.odd_km, f.max_km, f.before_id, f.before_at, f.is_apart, f.filled_at_is_assumed,
    f.is_too_fast, f.is_after_first, f.is_swapped, f.is_too_dear, f.cap_is_floor, f.cap_is_old, f.vehicle, f.plate, f.status,
    f.litres, f.amount_kes, f.span_litres, f.span_amount_kes, f.km_per_litre, f.rolling_km_per_litre, f.litres_per_100km,
    f.kes_per_km, f.price_per_litre_kes, f.cap_kes, f.fuel_type, f.fuel_family, f.vehicle_class, f.car, f.driver, f.driver_name,
    f.department, f.odd_litres, f.most_litres, f.tank_litres, f.usual_family
from (
    select true as is_stored, f.* from fuel.fill_facts as f
    union all
    select
        false, c.filled_at, c.id, c.filled_at_eat, c.findings, c.reported_at, c.odometer_km, c.distance_km, c.from_at, c.from_km,
        c.usual_km_per_litre, c.rolling_spans_used, c.superseded_by, c.unclear_with, c.before_km, c.after_km, c.last_stop_id,
        c.next_span_id, c.explained_by, c.odd_km, c.max_km, c.before_id, c.before_at, false, c.filled_at_is_assumed, c.is_too_fast,
        c.is_after_first, c.is_swapped, c.is_too_dear, c.cap_is_floor, c.cap_is_old, stale.vehicle, stale.plate, c.status,
        c.litres, c.amount_kes, c.span_litres, c.span_amount_kes, c.km_per_litre, c.rolling_km_per_litre, c.litres_per_100km,
        c.kes_per_km, c.price_per_litre_kes, c.cap_kes, c.fuel_type, c.fuel_family, c.vehicle_class, c.car, c.driver,
        c.driver_name, c.department, c.odd_litres, c.most_litres, c.tank_litres, c.usual_family
    from (
        -- By its own plate and by every other spelling, so that whoever asks for a plate computes its vehicle alone.
        select distinct s.vehicle, s.vehicle as plate from fuel.stale_vehicles as s
        union all
        select distinct k.vehicle, k.plate
        from fuel.stale_vehicles as s
        join fuel.known_vehicle as k on k.vehicle = s.vehicle and k.plate <> k.vehicle
    ) as stale
    cross join lateral fuel.facts_of(stale.vehicle) as c
    -- Written so that the planner does not think the comparison leaves one fill in a hundred: it leaves all, but for former plates.
    where coalesce(c.plate = stale.plate, false)
    union all
    select
        false, a.filled_at, a.id, a.filled_at_eat, a.findings, a.reported_at, a.odometer_km, a.distance_km, a.from_at, a.from_km,
        a.usual_km_per_litre, a.rolling_spans_used, a.superseded_by, a.unclear_with, a.before_km, a.after_km, a.last_stop_id,
        a.next_span_id, a.explained_by, a.odd_km, a.max_km, a.before_id, a.before_at, true, a.filled_at_is_assumed, a.is_too_fast,
        a.is_after_first, a.is_swapped, a.is_too_dear, a.cap_is_floor, a.cap_is_old, a.vehicle, a.plate, a.status, a.litres,
        a.amount_kes, a.span_litres, a.span_amount_kes, a.km_per_litre, a.rolling_km_per_litre, a.litres_per_100km, a.kes_per_km,
        a.price_per_litre_kes, a.cap_kes, a.fuel_type, a.fuel_family, a.vehicle_class, a.car, a.driver, a.driver_name,
        a.department, a.odd_litres, a.most_litres, a.tank_litres, a.usual_family
    from fuel.facts_apart() as a
) as f
where not exists (select from fuel.stale_vehicles as s where s.vehicle = f.vehicle and f.is_stored);

-- Fills --------------------------------------------------------------------------------------------------------------

-- The checks that rules/ has switched on, in one row.
create view fuel.enabled_codes as
select
    array_agg(c.code) as codes,
    array_agg(c.code) filter (where c.severity = 'warn') as warn,
    array_agg(c.code) filter (where c.severity = 'info') as info,
    max(c.severity) filter (where c.code = 'edited_plate') as edited_plate
from fuel.enabled_check as c;

-- One limit of fuel.anomaly_limit by itself: planning all forty at each place took longer than most answers.
create view fuel.twin_limit as
select coalesce(max(l.value), 20) * interval '1 minute' as twin_within
from fuel.check_limit as l
where l.code = 'duplicate_fill' and l.name = 'minutes';

-- Two records with the same driver, both reported at a time that can be believed.
create view fuel.equal_drivers as
select a.id, b.id as other_id
from fuel.records as a
cross join fuel.records as b
where fuel.is_usable_report(a.source_created_at, a.source_at) and fuel.is_usable_report(b.source_created_at, b.source_at)
-- Most names are written alike; of these one is cleaned.
and case
    when a.driver = b.driver then fuel.clean_driver(a.driver) is not null
    else fuel.clean_driver(a.driver) = fuel.clean_driver(b.driver)
end;

-- The fills that agree with a fill of another vehicle in all that the index knows, each with that.
create view fuel.reading_pairs as
select r.id, r.vehicle, r.plate, r.filled_at, r.hash, other.id as other_id, other.vehicle as other_vehicle
from fuel.hashed_readings as r
join fuel.hashed_readings as other on other.hash = r.hash
where other.odometer_km = r.odometer_km and other.litres = r.litres and other.amount_kes = r.amount_kes
and other.reported_at between r.reported_at - (select l.twin_within from fuel.twin_limit as l)
    and r.reported_at + (select l.twin_within from fuel.twin_limit as l)
and other.vehicle <> r.vehicle;

-- The readings of a vehicle that made such a pair when it was last refreshed: readings, not pairs, as of thousands of fills that
-- agree there are millions of pairs. Of two vehicles that are not stale, whichever was refreshed last saw the other as it is, so the
-- readings of all their pairs are here; and others, which make none any more. Nothing is said of a fill for having one of these:
-- its plate is held against the others' when a report is read.
create table fuel.equal_readings (
    vehicle text collate "C" not null,
    hash    bigint not null,
    primary key (vehicle, hash)
);
create index equal_readings_by_hash on fuel.equal_readings (hash);

comment on table fuel.equal_readings is 'The readings among which edited plates are looked for, as of when vehicles were last refreshed: written by fuel.refresh_fill_facts(), read through fuel.edited_plates, never edited.';

-- The fills with an edited plate, each with the first record that it may be.
create or replace view fuel.edited_plates as
select p.id, p.vehicle, p.plate, p.filled_at, min(p.other_id) as other_id
from (
    select p.* from fuel.reading_pairs as p where p.hash in (select e.hash from fuel.equal_readings as e)
    union all
    select p.* from fuel.stale_vehicles as s join fuel.reading_pairs as p on p.vehicle = s.vehicle
    union all
    select p.* from fuel.stale_vehicles as s join fuel.reading_pairs as p on p.other_vehicle = s.vehicle
) as p
-- Of the few that were found: the rest of each record is not read before.
cross join lateral (select from fuel.equal_drivers as d where d.id = p.id and d.other_id = p.other_id offset 0) as driver
group by p.id, p.vehicle, p.plate, p.filled_at;

-- The facts of a fill with what is never stored: that it lies ahead, and that its plate was edited: the same rule as above, asked
-- for one fill. Only the fills that a report shows in the end are looked up.
create view fuel.current_fills as
select
    f.*,
    case when f.filled_at > now() + interval '1 day' then array_append(f.findings, 'impossible_time') else f.findings end as own_findings,
    exists (
        select
        from fuel.hashed_readings as other
        cross join lateral (select from fuel.equal_drivers as d where d.id = f.id and d.other_id = other.id offset 0) as driver
        where other.hash = hash_numeric_extended(f.amount_kes, hash_numeric_extended(f.litres, f.odometer_km))
        and other.odometer_km = f.odometer_km and other.litres = f.litres and other.amount_kes = f.amount_kes
        and other.reported_at between f.reported_at - (select l.twin_within from fuel.twin_limit as l)
            and f.reported_at + (select l.twin_within from fuel.twin_limit as l)
        and other.vehicle <> f.vehicle
    ) as has_edited_plate
from fuel.current_fill_facts as f;

create or replace view reporting.v_fuel_fills as
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
        when f.own_findings && (select e.warn from fuel.enabled_codes as e) then 'warn'
        when 'warn' = (select e.edited_plate from fuel.enabled_codes as e) and f.has_edited_plate then 'warn'
        when f.own_findings && (select e.info from fuel.enabled_codes as e) then 'info'
        when 'info' = (select e.edited_plate from fuel.enabled_codes as e) and f.has_edited_plate then 'info'
    end as worst_severity,
    case
        when f.has_edited_plate then array(
            select x.code from unnest(array_append(f.own_findings, 'edited_plate')) as x (code)
            where x.code = any ((select e.codes from fuel.enabled_codes as e)::text[]) order by x.code
        )
        when f.own_findings is not null then array(
            select x.code from unnest(f.own_findings) as x (code)
            where x.code = any ((select e.codes from fuel.enabled_codes as e)::text[]) order by x.code
        )
        else '{}'
    end as finding_codes,
    r.last_changed_at as changed_at
from fuel.current_fills as f
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
left join fuel.records as r on r.id = f.id;

create or replace view reporting.v_fuel_efficiency as
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
create or replace view reporting.v_fuel_monthly as
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
        a.own_findings && (select e.warn from fuel.enabled_codes as e)
        -- A fleet's edited plates are found at once, rather than looked up one by one.
        or (
            'warn' = (select e.edited_plate from fuel.enabled_codes as e)
            and exists (select from fuel.edited_plates as p where p.id = a.id)
        ) as has_warning
    from fuel.current_fills as a
    where a.superseded_by is null
) as f
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
group by 1, 2, 3, 4, 5, 6;

-- Findings -----------------------------------------------------------------------------------------------------------

-- What the records themselves say: functions, asked only where a sentence needs it. (A sub-select in their place would keep the
-- server from sharing the sentences out among its workers.) Most sentences need none, so they are called cheap; otherwise the server
-- shares out the few sentences of one plate, too, and starting workers takes longer than those.

-- What the feed says of a field, in its own words.
create function fuel.text_of(id bigint, field text) returns text
language sql stable strict parallel safe security definer cost 10
set search_path = pg_catalog, pg_temp
begin atomic
    select left(r.raw ->> s.alias, 200)
    from fuel.records as r
    cross join fuel.source_field as s
    where r.id = text_of.id and s.field = text_of.field and s.field in ('fuel_type', 'filled_at') and btrim(r.raw ->> s.alias) <> ''
    order by s.rank
    limit 1;
end;

create function fuel.driver_of(id bigint) returns text
language sql stable strict parallel safe security definer cost 10
set search_path = pg_catalog, pg_temp
begin atomic
    select fuel.clean_driver(r.driver) from fuel.records as r where r.id = driver_of.id;
end;

-- In what two records differ; null if in nothing.
create function fuel.differences(id bigint, other_id bigint) returns text
language sql stable strict parallel safe security definer cost 10
set search_path = pg_catalog, pg_temp
begin atomic
    select nullif(concat_ws(', ',
        case when other.litres is distinct from r.litres then 'litres' end,
        case when other.amount_kes is distinct from r.amount_kes then 'the amount' end,
        case when other.odometer_km is distinct from r.odometer_km then 'the odometer' end,
        case when other.filled_at is distinct from r.filled_at then 'the time' end,
        case when other.driver is distinct from r.driver then 'the driver' end,
        case when other.fuel_type is distinct from r.fuel_type then 'the fuel' end
    ), '')
    from fuel.records as r
    cross join fuel.records as other
    where r.id = differences.id and other.id = differences.other_id;
end;

-- Of a fill that may be another one, reported twice.
create function fuel.doubt(id bigint, other_id bigint) returns text
language sql stable strict parallel safe security definer cost 10
set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when other.filled_at = r.filled_at then format('The same time, litres, amount and odometer as record %s: check whether it is one fill reported twice.', other.id)
        else format('The same litres, amount and odometer as record %s, filled %s apart: check whether it is one fill reported twice.', other.id,
            fuel.time_in_words(greatest(r.filled_at - other.filled_at, other.filled_at - r.filled_at)))
    end
    from fuel.records as r
    cross join fuel.records as other
    where r.id = doubt.id and other.id = doubt.other_id;
end;

-- Of the record whose litres would make a span usual.
create function fuel.explanation(id bigint) returns text
language sql stable strict parallel safe security definer cost 10
set search_path = pg_catalog, pg_temp
begin atomic
    select format(' Record %s would explain it: it %s.', r.id,
        case when r.deleted_at is not null or r.absent_since is not null then 'was deleted' else 'has no time of its own' end)
    from fuel.records as r
    where r.id = explanation.id;
end;

-- As in 0014, with those functions in place of sub-selects.
create or replace view reporting.v_fuel_anomalies as
select
    f.id, f.plate, f.filled_at, found.code, c.severity, said.value, said.expected, said.sentence,
    f.filled_at_eat::date as filled_on, f.driver_name, f.department, device.cost_centre, f.amount_kes, said.other_id
from fuel.current_fill_facts as f
cross join unnest(f.findings) as found (code)
join fuel.enabled_check as c on c.code = found.code
left join fuel.vehicle_devices as device on device.vehicle = f.vehicle
left join fuel.vehicle_class as k on k.class = f.vehicle_class
cross join fuel.anomaly_limit as l
cross join lateral (
    select
        case found.code
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
            else fuel.text_of(f.id, case found.code when 'unknown_fuel_type' then 'fuel_type' else 'filled_at' end) -- or missing_time, impossible_time
        end as value,
        case found.code
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
            when 'fills_missing' then format('fills between %s and %s km', f.from_km, f.odometer_km)
            when 'efficiency_outlier' then format('about %s', trim_scale(round(f.usual_km_per_litre::numeric, 2)))
            when 'implausible' then
                case
                    when f.is_too_fast then 'a speed a vehicle can reach'
                    else format('%s to %s', trim_scale(k.km_per_litre_min), trim_scale(k.km_per_litre_max))
                end
            when 'duplicate_fill' then 'one record for each fill'
            when 'too_frequent' then format('%s hours or more', trim_scale(l.frequent_hours))
            when 'driver_changed' then fuel.driver_of(f.before_id)
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
        case found.code
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
                f.odometer_km - f.from_km, fuel.time_in_words(f.filled_at - f.from_at), fuel.explanation(f.explained_by))
            when 'efficiency_outlier' then
                case
                    when f.next_span_id is not null then format('%s km on a litre, where this vehicle usually makes %s, and as far off the other way at the fill after (record %s): check this odometer reading.',
                        trim_scale(f.km_per_litre), trim_scale(round(f.usual_km_per_litre::numeric, 2)), f.next_span_id)
                    when f.km_per_litre > f.usual_km_per_litre then format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer, or a fill before it is missing.%s',
                        trim_scale(f.km_per_litre), trim_scale(round(f.usual_km_per_litre::numeric, 2)), fuel.explanation(f.explained_by))
                    else format('%s km on a litre, where this vehicle usually makes %s: check litres and odometer, or whether a fill was reported twice.',
                        trim_scale(f.km_per_litre), trim_scale(round(f.usual_km_per_litre::numeric, 2)))
                end
            when 'implausible' then
                case
                    when f.is_too_fast then format('%s km in %s since the fill before: check the odometer and the time of both fills.', f.odd_km, fuel.time_in_words(f.filled_at - f.from_at))
                    when f.next_span_id is not null then format('%s km on a litre, and far off the other way at the fill after (record %s): check this odometer reading.', trim_scale(round(f.odd_km / f.odd_litres, 3)), f.next_span_id)
                    when f.odd_km > f.odd_litres * k.km_per_litre_max then format('%s km on a litre, where a vehicle of class %s makes %s to %s: check litres and odometer, or a fill before it is missing.%s',
                        trim_scale(round(f.odd_km / f.odd_litres, 3)), k.class, trim_scale(k.km_per_litre_min), trim_scale(k.km_per_litre_max), fuel.explanation(f.explained_by))
                    else format('%s km on a litre, where a vehicle of class %s makes %s to %s: check litres and odometer.',
                        trim_scale(round(f.odd_km / f.odd_litres, 3)), k.class, trim_scale(k.km_per_litre_min), trim_scale(k.km_per_litre_max))
                end
            when 'duplicate_fill' then
                case
                    when f.superseded_by is not null then format('Reported again as record %s, %s: check which is right; this one is left out of consumption and spend.',
                        f.superseded_by, coalesce('which differs in ' || fuel.differences(f.id, f.superseded_by), 'the same in all'))
                    else fuel.doubt(f.id, f.unclear_with)
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
            when 'impossible_time' then format('Dated %s, after its own report: it stands at the time of the report, %s; check the date.', fuel.text_of(f.id, 'filled_at'), to_char(f.filled_at_eat, 'YYYY-MM-DD HH24:MI'))
            when 'reported_late' then format('Dated %s, but reported %s later: check the date.', to_char(f.filled_at_eat, 'YYYY-MM-DD'), fuel.time_in_words(f.reported_at - f.filled_at))
            when 'unknown_plate' then
                case
                    when f.plate is null then 'No plate: check which vehicle was filled.'
                    else format('%s has the shape of no known plate: check which vehicle was filled, or name it in rules/vehicles.toml.', left(f.car, 200))
                end
            when 'unknown_fuel_type' then
                coalesce('Fuel type ' || fuel.text_of(f.id, 'fuel_type') || ' is not known: check what was filled.', 'No fuel type: check what was filled.')
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
) as said
where f.findings is not null

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

-- What they stood on before ------------------------------------------------------------------------------------------

drop view fuel.checked_fills;
drop view fuel.released_equal_readings;
drop view fuel.released_fill_facts_view;
drop function fuel.released_facts_of(text);
drop function fuel.released_facts_apart();
drop table fuel.released_fill_facts;

-- The indexes as in 0012.
alter table fuel.fill_facts add primary key (vehicle, filled_at, id), add check (not is_apart);
create index fill_facts_by_plate on fuel.fill_facts (plate, filled_at);
create index fill_facts_by_time on fuel.fill_facts (filled_at) include (vehicle, plate, id, filled_at_eat, litres, amount_kes);
create index fill_facts_found on fuel.fill_facts (filled_at) include (vehicle, vehicle_class, findings) where findings is not null;

comment on table fuel.fill_facts is 'What fuel.computed_fill_facts gave when each vehicle was last refreshed: written by fuel.refresh_fill_facts(), read through fuel.current_fill_facts, never edited.';
comment on column fuel.fill_facts.is_apart is 'Fills without a plate or a time are few, and never stored.';
comment on column fuel.fill_facts.findings is 'The checks that find the fill odd, whether or not rules/ has them switched on; null for most fills.';

-- Refreshing ----------------------------------------------------------------------------------------------------------

-- As in 0012, with equal readings.
create or replace function fuel.forget_facts() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    truncate fuel.fill_facts, fuel.equal_readings, fuel.stale_vehicles;
    return null;
end
$$;

create or replace function fuel.refresh_fill_facts(max_fills bigint, out vehicles bigint, out fills bigint, out vehicles_left bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
    chosen text[] := '{}';
    one    record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'facts of fills are refreshed in a read committed transaction only' using errcode = 'active_sql_transaction';
    end if;
    fills := 0;
    if exists (select from fuel.stale_vehicles) then
        -- The order in which a truncate locks, too.
        lock table fuel.records in access share mode;
        perform from fuel.fill_facts_rules for update skip locked;
        if found then
            for one in
                select
                    s.vehicle,
                    (
                        select count(*) from fuel.records as r
                        where r.vehicle = s.vehicle and r.filled_at is not null and r.deleted_at is null and r.absent_since is null
                    ) as fills
                from (select distinct p.vehicle from fuel.stale_vehicles as p order by p.vehicle) as s
            loop
                exit when cardinality(chosen) > 0 and fills + one.fills > max_fills;
                chosen := chosen || one.vehicle;
                fills := fills + one.fills;
            end loop;
            -- A table that nobody has analysed yet looks tiny to the planner: after a first load this took four times as long,
            -- and reports would take minutes until autovacuum comes along. Analysed are the columns that the plan turns on.
            if fills >= 1000 and not exists (select from pg_stats as s where s.schemaname = 'fuel' and s.tablename = 'records') then
                analyze fuel.records (id, vehicle, plate, filled_at, deleted_at, absent_since);
            end if;
            -- Marks first, each statement with a snapshot of its own: see fuel.stale_vehicles.
            delete from fuel.stale_vehicles as s where s.vehicle = any (chosen);
            delete from fuel.fill_facts as f where f.vehicle = any (chosen);
            insert into fuel.fill_facts
            select c.*
            from unnest(chosen) as v (vehicle)
            cross join lateral (select * from fuel.computed_fill_facts as f where f.vehicle = v.vehicle and not f.is_apart offset 0) as c;
            get diagnostics fills = row_count;
            delete from fuel.equal_readings as e where e.vehicle = any (chosen);
            -- Each reading asks for one fill that agrees (`offset 0` keeps the planner from making a join of it): where thousands
            -- agree, meeting all of them took minutes.
            insert into fuel.equal_readings (vehicle, hash)
            select distinct r.vehicle, r.hash
            from unnest(chosen) as v (vehicle)
            join fuel.hashed_readings as r on r.vehicle = v.vehicle
            where exists (select from fuel.reading_pairs as p where p.id = r.id offset 0);
            if fills >= 1000 and not exists (select from pg_stats as s where s.schemaname = 'fuel' and s.tablename = 'fill_facts') then
                analyze fuel.fill_facts;
            end if;
        end if;
    end if;
    vehicles := cardinality(chosen);
    select count(distinct s.vehicle) into vehicles_left from fuel.stale_vehicles as s;
end
$$;

-- The new tables are empty: every vehicle is computed anew, by `migrate` itself or as it is read.
do $$ begin perform fuel.mark_every_vehicle(); end $$;
