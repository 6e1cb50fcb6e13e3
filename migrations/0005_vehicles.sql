-- What is known before any figure: limits, the vehicle and its usual fuel, and which records are one message written twice.
--
-- The formula, from here to fuel.computed_fill_facts (0008), is a chain of views, each one idea, each walking through a
-- vehicle's fills in their order (time, then odometer, then id). `where vehicle = …` reaches the index below all windows.
--
--     fuel.fleet                0005   the vehicle: class, usual fuel, tank, twins
--     fuel.known_fills          0006   a fill with what is known of its vehicle
--     fuel.placed_fills         0006   its place in the vehicle's order, and whether it counts
--     fuel.read_fills           0006   which odometer readings are good
--     fuel.chained_fills        0006   running totals
--     fuel.parted_fills         0006   where a stop begins
--     fuel.stopped_fills        0006   which fills are one stop
--     fuel.carried_fills        0007   which fill carries the figures of its stop
--     fuel.based_fills          0007   the reading before, from which its span runs
--     fuel.spanned_fills        0007   how far, on how many litres, for how much
--     fuel.gathered_fills       0007   what is usual for the vehicle
--     fuel.compared_fills       0007   the same, at each of its fills
--     fuel.decided_fills        0007   which spans are far from it: the status
--     fuel.judged_fills         0007   rolling figures
--     fuel.computed_fill_facts  0008   the figures, and what the checks find
--
-- Each is a view of its own, not a part (`with`) of a larger one: the planner copies all that a part stands on once more.

-- The limits of stops and spans, from rules/, in one row.
create view fuel.span_limit as
select
    coalesce(max(l.value) filter (where l.name = 'max_span_km'), 3000)::bigint as per_span,
    coalesce(max(l.value) filter (where l.name = 'max_km_per_day'), 1500)::bigint as per_day,
    coalesce(max(l.value) filter (where l.name = 'max_km_per_hour'), 150)::bigint as per_hour,
    coalesce(max(l.value) filter (where l.name = 'gap_days'), 14) * interval '1 day' as gap,
    coalesce(max(l.value) filter (where l.name = 'gap_km_per_day'), 1000)::bigint as gap_per_day,
    coalesce(max(l.value) filter (where l.name = 'stop_minutes'), 20) * interval '1 minute' as stop_within,
    coalesce(max(l.value) filter (where l.name = 'stop_km'), 5)::bigint as stop_km,
    greatest(coalesce(max(l.value) filter (where l.name = 'rolling_spans'), 10), 1)::bigint as rolling_spans
from fuel.check_limit as l
where l.code = 'efficiency';

-- The limits of the checks of reporting.v_fuel_anomalies, from rules/, in one row.
create view fuel.anomaly_limit as
select
    l.min_spans, l.spreads, ln(l.least_factor) as least, ln(l.most_factor) as most, ln(l.noisy_factor) as noisy,
    l.money_spreads, ln(l.money_factor) as money_least,
    l.duplicate_minutes * interval '1 minute' as twin_within,
    l.frequent_hours, l.frequent_hours * interval '1 hour' as frequent_within,
    l.driver_hours * interval '1 hour' as driver_within,
    l.price_min_kes, l.price_max_kes, l.price_believable_kes, l.ugx_per_kes, l.price_share,
    l.tank_share, l.far_above,
    l.late_days, l.late_days * interval '1 day' as late_after,
    l.odd_from_hour, l.odd_to_hour
from (
    select
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'min_spans'), 5) as min_spans,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'spreads'), 3)::double precision as spreads,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'least_factor'), 1.42)::double precision as least_factor,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'most_factor'), 1.65)::double precision as most_factor,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'noisy_factor'), 1.16)::double precision as noisy_factor,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'money_spreads'), 1.5)::double precision as money_spreads,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'money_factor'), 1.22)::double precision as money_factor,
        coalesce(max(l.value) filter (where l.code = 'duplicate_fill' and l.name = 'minutes'), 20) as duplicate_minutes,
        coalesce(max(l.value) filter (where l.code = 'too_frequent' and l.name = 'hours'), 12) as frequent_hours,
        coalesce(max(l.value) filter (where l.code = 'driver_changed' and l.name = 'hours'), 12) as driver_hours,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'min'), 50) as price_min_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'max'), 500) as price_max_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'believable'), 1500) as price_believable_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'ugx_per_kes'), 28) as ugx_per_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'share'), 0.15) as price_share,
        coalesce(max(l.value) filter (where l.code = 'over_capacity' and l.name = 'share'), 0.05) as tank_share,
        coalesce(max(l.value) filter (where l.code = 'over_capacity' and l.name = 'factor'), 1.5) as far_above,
        coalesce(max(l.value) filter (where l.code = 'reported_late' and l.name = 'days'), 60) as late_days,
        coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'from'), 22) as odd_from_hour,
        coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'to'), 5) as odd_to_hour
    from fuel.check_limit as l
) as l;

create function fuel.has_plate_shape(plate text) returns boolean
language sql immutable parallel safe
return plate ~ (
    '^(?:[KG][A-HJ-NP-Z]{2}[0-9]{3}[A-HJ-NP-Z]|K[A-HJ-NP-Z]{3}[0-9]{3}[A-HJ-NP-Z]|K[A-HJ-NP-Z]{2}[0-9]{3}|Z[A-HJ-NP-Z][0-9]{4}'
    -- Uganda, Tanzania, Rwanda, South Sudan; diplomats, the United Nations.
    '|U[A-Z]{2}[0-9]{3}[A-Z]|UA[0-9]{3}[A-Z]{2}|T[0-9]{3}[A-Z]{3}|R[A-Z]{2}[0-9]{3}[A-Z]|SSD[0-9]{3}[A-Z]'
    '|[0-9]{1,3}C[DG][0-9]{1,4}[A-HJ-NP-Z]?|[0-9]{0,3}UN[0-9]{1,4}[A-Z]?)$'
);

comment on function fuel.has_plate_shape(text) is 'Whether a normalised plate has the shape of a known kind of number plate.';

-- A fuel family is what can be in one tank: V-Power is a petrol, V-Power Diesel a diesel. AdBlue is no fuel.
create function fuel.family_of(fuel_type text) returns text
language sql immutable parallel safe
return case fuel_type when 'V-POWER' then 'PETROL' when 'V-POWER DIESEL' then 'DIESEL' else fuel_type end;

comment on function fuel.family_of(text) is 'The fuel family of a canonical fuel type: what can be in one tank.';

-- A driver's name, so that one driver is one row: case, dots and repeated spaces do not matter; a placeholder is no name.
create function fuel.driver_words(driver text) returns text
language sql immutable parallel safe
return btrim(regexp_replace(left(driver, 200), e'[\\s.,]+', ' ', 'g'));

create function fuel.clean_driver(driver text) returns text
language sql immutable parallel safe
return case
    when upper(fuel.driver_words(driver) collate "C") not in ('', 'N/A', 'NA', 'NIL', 'NONE', '-') then initcap(fuel.driver_words(driver))
end;

comment on function fuel.driver_words(text) is 'The words of a driver''s name with single spaces, without dots and commas.';
comment on function fuel.clean_driver(text) is 'A driver''s name without differences of case, dots and spaces; null for placeholders.';

-- What the feed says of the time of a fill, whether or not it is usable; null if it says nothing, or 1970.
create function fuel.said_time(raw jsonb) returns timestamptz
language sql stable parallel safe security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select t.said
    from (
        select fuel.read_time(left((array_agg(raw ->> f.alias order by f.rank) filter (where btrim(raw ->> f.alias) <> ''))[1], 100), fuel.feed_zone()) as said
        from fuel.source_field as f
        where f.field = 'filled_at' and jsonb_typeof(raw -> f.alias) in ('string', 'number')
    ) as t
    where extract(year from t.said at time zone fuel.feed_zone()) <> 1970;
end;

-- The order in which every view walks through a vehicle's fills, with the bounded columns that figures need, so that they
-- are computed from the index alone. No free text: an index entry has a size limit, a driver's name has none.
create index records_live_by_vehicle on fuel.records (vehicle, filled_at, odometer_km, id)
include (litres, amount_kes, price_per_litre_kes, fuel_type, source_created_at, filled_at_is_assumed)
where deleted_at is null and absent_since is null;

create index records_live_by_time on fuel.records (filled_at)
where deleted_at is null and absent_since is null;

-- Live fills without a plate or without a time: they have a place in no vehicle's order.
create index records_live_apart on fuel.records (vehicle, filled_at)
where deleted_at is null and absent_since is null and (vehicle is null or filled_at is null);

-- What is gone, for naming the record that explains a figure.
create index records_gone_by_vehicle on fuel.records (vehicle, filled_at)
where deleted_at is not null or absent_since is not null;

-- When a record was created says when its fill was reported, if that is usable: between 2015 and a day after its file.
create function fuel.is_usable_report(reported_at timestamptz, source_at timestamptz) returns boolean
language sql stable parallel safe
return reported_at >= '2015-01-01Z' and reported_at <= source_at + interval '1 day';

comment on function fuel.is_usable_report(timestamptz, timestamptz) is 'Whether the time at which a record was created can be believed, as its file was true at source_at.';

-- Twins: one message that arrived as two records. Only fills of one vehicle reported within 20 minutes of each other can
-- be twins. (a) The same reading, and exactly one of litres and amount equal: an edited message. (b) The same time of
-- fill, given with a clock, litres and amount: repeated, or its odometer, driver or fuel edited. Of these the record
-- reported last is the corrected one, and supersedes all others of its chain. (c) Litres, amount and odometer equal, and
-- the times differ: a pump's limit or a message sent again; nobody can know, the later fill is *unclear*.
--
-- Given are the fills that were reported so soon before or after another one; null if there are none, as for most vehicles.
create function fuel.twins_of(ids bigint[], twin_within interval) returns table (id bigint, superseded_by bigint, unclear_with bigint)
language sql stable strict rows 1 parallel safe security definer
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive near as materialized (
        select
            r.id, r.filled_at, r.litres, r.amount_kes, r.odometer_km, r.source_created_at as reported_at,
            not r.filled_at_is_assumed and (r.filled_at at time zone fuel.feed_zone())::time <> '00:00' as has_clock
        from fuel.records as r
        where r.id = any (twins_of.ids) and fuel.is_usable_report(r.source_created_at, r.source_at)
    ),
    pairs as materialized (
        select earlier.id as earlier_id, later.id as later_id
        from near as earlier
        join near as later on later.odometer_km = earlier.odometer_km
        where later.odometer_km between 1 and 2000000
        and (later.reported_at, later.id) > (earlier.reported_at, earlier.id)
        and later.reported_at - earlier.reported_at <= twins_of.twin_within
        and (
            (later.litres = earlier.litres and later.amount_kes is distinct from earlier.amount_kes)
            or (later.amount_kes = earlier.amount_kes and later.litres is distinct from earlier.litres)
        )
        union
        select earlier.id, later.id
        from near as earlier
        join near as later on later.filled_at = earlier.filled_at
        where later.has_clock and earlier.has_clock
        and (later.reported_at, later.id) > (earlier.reported_at, earlier.id)
        and later.reported_at - earlier.reported_at <= twins_of.twin_within
        and later.litres is not distinct from earlier.litres and later.amount_kes is not distinct from earlier.amount_kes
        and coalesce(later.litres, later.amount_kes) is not null
    ),
    edges as (
        select p.earlier_id as id, p.later_id as other_id from pairs as p
        union all
        select p.later_id, p.earlier_id from pairs as p
    ),
    chained (id, other_id) as (
        select e.id, e.other_id from edges as e
        union
        select c.id, e.other_id from chained as c join edges as e on e.id = c.other_id
    ),
    lasts as materialized (
        select c.id, (array_agg(n.id order by n.reported_at desc, n.id desc))[1] as last_id
        from chained as c
        join near as n on n.id = c.other_id
        group by c.id
    ),
    standing as (
        select n.* from near as n where not exists (select from lasts as l where l.id = n.id and l.last_id <> n.id)
    )
    select l.id, l.last_id, null::bigint from lasts as l where l.last_id <> l.id
    union all
    select later.id, null, max(earlier.id)
    from standing as later
    join standing as earlier on earlier.litres is not distinct from later.litres and earlier.amount_kes is not distinct from later.amount_kes
    where earlier.odometer_km is not distinct from later.odometer_km
    and coalesce(later.litres, later.amount_kes) is not null
    and (earlier.filled_at, earlier.id) < (later.filled_at, later.id)
    and abs(extract(epoch from later.reported_at - earlier.reported_at)) <= extract(epoch from twins_of.twin_within)
    group by later.id;
end;

comment on function fuel.twins_of(bigint[], interval) is 'Which of these fills of a vehicle are one message written twice: by which record each is superseded, or with which one it may be the same.';

-- The usual fuel of a vehicle: the family with the most litres, slips left out, at a tie the latest; the rules may know
-- better. It is mixed if two families have three fills and a fifth of all each. And the most litres it ever took at once, and the
-- next to that, leaving out slips of more than three times the middle one.
create function fuel.fuel_of(vehicle text, superseded bigint[]) returns table (usual_family text, is_mixed boolean, most_litres numeric, second_litres numeric)
language sql stable rows 1 parallel safe security definer
set search_path = pg_catalog, pg_temp
begin atomic
    with fills as materialized (
        select fuel.family_of(r.fuel_type) as family, r.litres, r.filled_at
        from fuel.records as r
        where r.vehicle = fuel_of.vehicle and r.deleted_at is null and r.absent_since is null and r.filled_at is not null
        and not r.id = any (fuel_of.superseded)
        -- Litres and amount swapped say nothing of the vehicle.
        and (r.price_per_litre_kes < 1 and r.litres > 1000) is not true
    ),
    middle as materialized (
        select count(*) as fills, percentile_disc(0.5) within group (order by f.litres) as litres
        from fills as f
        where f.litres > 0
    ),
    -- A slipped decimal point (45,5 read as 455) makes ten times the litres: it does not decide which fuel is usual.
    most as (
        select case when m.fills >= 6 then 8 * m.litres end as litres from middle as m
    ),
    families as (
        select
            f.family, count(*) as fills, max(f.filled_at) as last_at,
            coalesce(sum(f.litres) filter (where f.litres > 0 and (f.litres > m.litres) is not true), 0) as litres
        from fills as f
        cross join most as m
        where f.family is not null and f.family <> 'ADBLUE'
        group by f.family
    ),
    tank as (
        select array_agg(f.litres order by f.litres desc) as litres
        from fills as f
        where f.family is distinct from 'ADBLUE'
        and f.litres > 0 and f.litres <= 3 * (select m.litres from middle as m)
        having count(*) >= 6
    )
    select
        (select f.family from families as f order by f.litres desc, f.last_at desc, f.family limit 1),
        (select count(*) >= 2 from families as f where f.fills >= 3 and f.fills >= 0.2 * (select sum(a.fills) from families as a)),
        (select t.litres[1] from tank as t),
        (select t.litres[2] from tank as t);
end;

comment on function fuel.fuel_of(text, bigint[]) is 'The usual fuel family of a vehicle, whether it takes two, and the most litres it took at once.';

-- Every vehicle with live fills, and what is known of it before its fills are walked through.
create view fuel.fleet as
select
    v.vehicle, c.class as vehicle_class, c.litres_min, c.litres_max, c.km_per_litre_min, c.km_per_litre_max,
    known.vehicle is not null as is_known, coalesce(known.has_odometer, true) as has_odometer, known.tank_litres,
    fuel.has_plate_shape(v.vehicle) as has_plate_shape,
    coalesce(fuel.family_of(known.fuel_type), used.usual_family) as usual_family, used.is_mixed and known.fuel_type is null as is_mixed,
    used.most_litres, used.second_litres,
    twins.superseded, twins.unclear, stray.ids as stray_ids, stray.km as stray_km, stray.filled_at as stray_at
from (
    select n.vehicle, array_agg(n.id) filter (where n.is_reported_near) as reported_near
    from (
        select
            r.vehicle, r.id,
            least(r.reported_at - lag(r.reported_at) over reports, lead(r.reported_at) over reports - r.reported_at)
                <= (select l.twin_within from fuel.anomaly_limit as l) as is_reported_near
        from (
            select r.vehicle, r.id, case when r.source_created_at >= '2015-01-01Z' then r.source_created_at end as reported_at
            from fuel.records as r
            where r.deleted_at is null and r.absent_since is null and r.filled_at is not null and r.vehicle is not null
        ) as r
        window reports as (partition by r.vehicle order by r.reported_at, r.id)
    ) as n
    group by n.vehicle
) as v
left join lateral (select k.* from fuel.known_vehicle as k where k.vehicle = v.vehicle order by k.plate limit 1) as known on true
left join lateral (
    select k.* from fuel.vehicle_class as k
    where k.class = known.class or (known.class is null and (k.plate_pattern is null or v.vehicle ~ k.plate_pattern))
    order by k.plate_pattern is null, k.rank limit 1
) as c on true
cross join lateral (
    select
        jsonb_object_agg(t.id, t.superseded_by) filter (where t.superseded_by is not null) as superseded,
        jsonb_object_agg(t.id, t.unclear_with) filter (where t.unclear_with is not null) as unclear,
        coalesce(array_agg(t.id) filter (where t.superseded_by is not null), '{}') as superseded_ids
    from fuel.twins_of(v.reported_near, (select l.twin_within from fuel.anomaly_limit as l)) as t
) as twins
cross join lateral fuel.fuel_of(v.vehicle, twins.superseded_ids) as used
-- Fills with a reading that have no time, or one long before their report: they may have been at another time.
left join lateral (
    select array_agg(r.id) as ids, array_agg(r.odometer_km) as km, array_agg(r.filled_at) as filled_at
    from fuel.records as r
    where r.vehicle = v.vehicle and r.deleted_at is null and r.absent_since is null
    and (r.filled_at is null or r.filled_at < r.source_created_at - (select l.late_after from fuel.anomaly_limit as l))
    and r.odometer_km between 1 and 2000000
    and (r.filled_at is null or fuel.is_usable_report(r.source_created_at, r.source_at))
    and coalesce(fuel.family_of(r.fuel_type), used.usual_family) is not distinct from used.usual_family
    and not r.id = any (twins.superseded_ids)
) as stray on true;
