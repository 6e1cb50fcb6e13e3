-- What the reports say of a fill depends on the other fills of its vehicle: the span it closes, the fill before, what the
-- vehicle usually needs. That is computed once a vehicle and stored; a vehicle that was touched since is *stale*.
--
--     fuel.computed_fill_facts   the formula, the only one: always right, and slow for a whole fleet
--     fuel.fill_facts            what it gave when each vehicle was last refreshed
--     fuel.stale_plates          the vehicles touched since
--     fuel.current_fill_facts    what the reports read: stored facts, and the formula itself for stale vehicles
--
-- So a report is always right; staleness only costs time. A later migration that changes the formula, and whoever writes
-- fuel.records with its triggers switched off, calls fuel.mark_every_plate().

-- The limits of a believable span, from rules/; a day counts as one day at least.
create view fuel.span_limit as
select
    coalesce(max(l.value) filter (where l.name = 'max_span_km'), 3000)::bigint as per_span,
    coalesce(max(l.value) filter (where l.name = 'max_km_per_day'), 1500)::bigint as per_day,
    greatest(coalesce(max(l.value) filter (where l.name = 'rolling_spans'), 10), 1)::bigint as rolling_spans
from fuel.check_limit as l
where l.code = 'efficiency';

create function fuel.has_plate_shape(plate text) returns boolean
language sql immutable parallel safe
return plate ~ '^(?:[KG][A-HJ-NP-Z]{2}[0-9]{3}[A-HJ-NP-Z]|K[A-HJ-NP-Z]{3}[0-9]{3}[A-HJ-NP-Z]|K[A-HJ-NP-Z]{2}[0-9]{3}|U[A-Z]{2}[0-9]{3}[A-Z]|UA[0-9]{3}[A-Z]{2}|Z[A-HJ-NP-Z][0-9]{4}|[0-9]{1,3}C[DG][0-9]{1,4}[A-HJ-NP-Z]?)$';

comment on function fuel.has_plate_shape(text) is 'Whether a normalised plate has the shape of a known kind of number plate.';

-- The limits of the checks of reporting.v_fuel_anomalies, from rules/, in one row.
create view fuel.anomaly_limit as
select
    l.efficiency_factor, l.efficiency_min_spans,
    l.duplicate_minutes, l.duplicate_minutes * interval '1 minute' as duplicate_within,
    l.frequent_hours, l.frequent_hours * interval '1 hour' as frequent_within,
    l.driver_hours * interval '1 hour' as driver_within,
    l.price_min_kes, l.price_max_kes, 1 - l.price_share as price_least, 1 + l.price_share as price_most,
    l.odd_from_hour, l.odd_to_hour,
    l.future_hours * interval '1 hour' as future_within
from (
    select
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'factor'), 2)::double precision as efficiency_factor,
        coalesce(max(l.value) filter (where l.code = 'efficiency_outlier' and l.name = 'min_spans'), 5) as efficiency_min_spans,
        coalesce(max(l.value) filter (where l.code = 'duplicate_fill' and l.name = 'minutes'), 10) as duplicate_minutes,
        coalesce(max(l.value) filter (where l.code = 'too_frequent' and l.name = 'hours'), 12) as frequent_hours,
        coalesce(max(l.value) filter (where l.code = 'driver_changed' and l.name = 'hours'), 12) as driver_hours,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'min'), 50) as price_min_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'max'), 500) as price_max_kes,
        coalesce(max(l.value) filter (where l.code = 'price_out_of_range' and l.name = 'share'), 0.15) as price_share,
        coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'from'), 22) as odd_from_hour,
        coalesce(max(l.value) filter (where l.code = 'odd_hours' and l.name = 'to'), 5) as odd_to_hour,
        coalesce(max(l.value) filter (where l.code = 'future_date' and l.name = 'hours'), 0) as future_hours
    from fuel.check_limit as l
) as l;

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

-- Live fills without a plate or without a time: they have a place in no vehicle's order.
create index records_live_apart on fuel.records (plate, filled_at)
where deleted_at is null and absent_since is null and (plate is null or filled_at is null);

-- Every live fill with a plate and a time, in its vehicle's order, with the span it closes.
--
-- A span runs from the last good reading before a fill to the fill's own reading; its litres are all litres filled after
-- that reading, up to and including this fill, so those of a fill without a reading go to the next span. A reading that
-- lies outside its two neighbours while these agree with each other is an outlier and voids only itself.
--
-- Running totals never fall, so the total at the last good reading is the greatest one among the good readings so far; an
-- odometer may fall, so it rides in the low bits of the fill's number. Fills without a reading are walked through apart
-- (has_reading is part of every partition behind the first). `where plate = …` reaches the index below all windows.
create view fuel.computed_spans as
with fills as (
    select
        r.id, r.plate, r.filled_at, r.fuel_type, r.litres, r.amount_kes, r.price_per_litre_kes, r.odometer_km,
        coalesce(r.odometer_km between 1 and 2000000, false) as has_reading,
        row_number() over vehicle as fills_so_far,
        coalesce(sum(r.litres) filter (where r.litres > 0) over vehicle, 0) as litres_so_far,
        count(*) filter (where r.litres > 0) over vehicle as with_litres_so_far,
        coalesce(sum(r.amount_kes) filter (where r.amount_kes > 0) over vehicle, 0) as kes_so_far,
        count(*) filter (where r.amount_kes > 0) over vehicle as with_kes_so_far,
        lag(r.id) over vehicle as before_id,
        lag(r.filled_at) over vehicle as before_at,
        lag(r.fuel_type) over vehicle as before_fuel_type,
        (r.litres, r.amount_kes) = (lag(r.litres) over vehicle, lag(r.amount_kes) over vehicle) as is_like_before,
        lag(r.id, 2) over vehicle as before_that_id,
        lag(r.filled_at, 2) over vehicle as before_that_at,
        (r.litres, r.amount_kes) = (lag(r.litres, 2) over vehicle, lag(r.amount_kes, 2) over vehicle) as is_like_before_that
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null and r.plate is not null and r.filled_at is not null
    window vehicle as (partition by r.plate order by r.filled_at, r.id rows unbounded preceding)
),
readings as (
    select
        f.*,
        lag(f.odometer_km) over vehicle as before_km,
        lag(f.odometer_km, 2) over vehicle as before_that_km,
        lead(f.odometer_km) over vehicle as after_km,
        lead(f.odometer_km, 2) over vehicle as after_that_km
    from fills as f
    window vehicle as (partition by f.plate, f.has_reading order by f.filled_at, f.id rows unbounded preceding)
),
judged as (
    select
        d.*,
        coalesce(
            d.before_km <= d.after_km and (d.odometer_km < d.before_km or d.odometer_km > d.after_km)
            -- Between two outliers the good reading looks odd, until the next but one on either side are asked.
            and (
                d.odometer_km between d.before_that_km and d.after_that_km
                and d.before_km not between d.before_that_km and d.odometer_km
                and d.after_km not between d.odometer_km and d.after_that_km
            ) is not true,
            false
        ) as is_outlier
    from readings as d
),
spans as (
    select
        j.*,
        max((j.fills_so_far << 21) + j.odometer_km) filter (where j.has_reading and not j.is_outlier) over before_this as from_fill_and_km,
        max(j.filled_at) filter (where not j.is_outlier) over before_this as from_at,
        max(j.litres_so_far) filter (where not j.is_outlier) over before_this as from_litres_so_far,
        max(j.with_litres_so_far) filter (where not j.is_outlier) over before_this as from_with_litres_so_far,
        max(j.kes_so_far) filter (where not j.is_outlier) over before_this as from_kes_so_far,
        max(j.with_kes_so_far) filter (where not j.is_outlier) over before_this as from_with_kes_so_far
    from judged as j
    window before_this as (partition by j.plate, j.has_reading order by j.filled_at, j.id rows between unbounded preceding and 1 preceding)
),
measured as (
    select
        s.*,
        s.from_fill_and_km & 2097151 as from_km,
        s.odometer_km - (s.from_fill_and_km & 2097151) as km,
        s.fills_so_far - (s.from_fill_and_km >> 21) as fills_since,
        s.litres_so_far - s.from_litres_so_far as litres_since,
        (select l.per_span from fuel.span_limit as l) as per_span,
        (select l.per_day from fuel.span_limit as l) as per_day
    from spans as s
),
possible as (
    select
        m.*,
        m.with_litres_so_far - m.from_with_litres_so_far = m.fills_since as has_litres,
        m.km > 0 and m.km <= m.per_span
        and (m.km <= m.per_day or m.km <= m.per_day * extract(epoch from m.filled_at - m.from_at) / 86400) as is_possible
    from measured as m
),
decided as (
    select
        p.*,
        case
            when not p.has_reading then case when p.odometer_km > 2000000 then 'odometer_outlier' else 'missing_odometer' end
            when p.is_outlier then 'odometer_outlier'
            when p.km is null then 'first_fill'
            when p.km <= 0 then 'odometer_rollback'
            when not p.is_possible then 'odometer_jump'
            when p.has_litres then 'ok'
            else 'no_litres'
        end as status
    from possible as p
),
rolled as (
    select
        d.*,
        case when d.status = 'ok' then (d.km / d.litres_since)::double precision end as km_per_litre,
        sum(d.km) filter (where d.status = 'ok') over last_spans as rolling_km,
        sum(d.litres_since) filter (where d.status = 'ok') over last_spans as rolling_litres,
        -- The vehicle's class and the shape of its plate are looked up once a vehicle, not once a fill.
        case when d.fills_so_far = 1 then (
            select k.class from fuel.vehicle_class as k
            where k.plate_pattern is null or d.plate ~ k.plate_pattern
            order by k.plate_pattern is null, k.rank limit 1
        ) end as first_class,
        case when d.fills_so_far = 1 then fuel.has_plate_shape(d.plate) end as first_has_plate_shape
    from decided as d
    window last_spans as (
        partition by d.plate, d.has_reading order by d.filled_at, d.id
        rows between (select l.rolling_spans - 1 from fuel.span_limit as l) preceding and current row
    )
),
ranked as (
    select
        r.*,
        row_number() over (partition by r.plate order by r.km_per_litre) as nth,
        count(r.km_per_litre) over vehicle as usual_spans,
        max(r.first_class) over vehicle as vehicle_class,
        bool_or(r.first_has_plate_shape) over vehicle as has_plate_shape
    from rolled as r
    window vehicle as (partition by r.plate)
),
usual as (
    select
        k.*,
        -- The median: the ratio in the middle, or half-way between the two there.
        (
            min(k.km_per_litre) filter (where k.nth = (k.usual_spans + 1) / 2) over vehicle
            + max(k.km_per_litre) filter (where k.nth = k.usual_spans / 2 + 1) over vehicle
        ) / 2 as usual_km_per_litre
    from ranked as k
    window vehicle as (partition by k.plate)
)
select
    u.*,
    case when u.is_like_before then u.before_id when u.is_like_before_that then u.before_that_id end as twin_id,
    case when u.is_like_before then u.before_at when u.is_like_before_that then u.before_that_at end as twin_at
from usual as u;

-- The formula: every live fill, with what its consumption is and which checks find it odd. is_apart: no plate or no time.
create view fuel.computed_fill_facts as
with limits as materialized (
    select * from fuel.anomaly_limit
),
caps as materialized (
    select * from fuel.pump_price_caps
),
fills as (
    select
        false as is_apart, s.plate, s.filled_at, s.id, s.fuel_type, s.litres, s.amount_kes, s.price_per_litre_kes, s.odometer_km, s.status,
        -- Consumption.
        case when s.status in ('ok', 'no_litres') then s.km end as distance_km,
        case when s.status = 'ok' then s.litres_since end as span_litres,
        case when s.status = 'ok' then round(s.km / s.litres_since, 3) end as km_per_litre,
        case when s.status = 'ok' then round(s.litres_since * 100 / s.km, 3) end as litres_per_100km,
        case
            when s.status in ('ok', 'no_litres') and s.with_kes_so_far - s.from_with_kes_so_far = s.fills_since
                then round((s.kes_so_far - s.from_kes_so_far) / s.km, 3)
        end as kes_per_km,
        case when s.status = 'ok' then round(s.rolling_km / s.rolling_litres, 3) end as rolling_km_per_litre,
        s.usual_km_per_litre, s.usual_spans, s.km_per_litre / s.usual_km_per_litre as times_usual,
        -- What an odd reading is held against.
        case when s.has_reading and s.status = 'odometer_outlier' then s.before_km end as before_km,
        case when s.has_reading and s.status = 'odometer_outlier' then s.after_km end as after_km,
        case when s.status in ('odometer_rollback', 'odometer_jump') then s.from_km end as from_km,
        case when s.status in ('odometer_rollback', 'odometer_jump') then s.from_at end as from_at,
        case
            when s.status = 'odometer_jump'
                then least(s.per_span, s.per_day * greatest(1, extract(epoch from s.filled_at - s.from_at) / 86400))::bigint
        end as max_km,
        -- The fill before, and what is to be said of it.
        s.before_id, s.before_at,
        -- V-Power is a petrol.
        case
            when s.fuel_type <> s.before_fuel_type
            and not (s.fuel_type in ('PETROL', 'V-POWER') and s.before_fuel_type in ('PETROL', 'V-POWER')) then s.before_fuel_type
        end as other_fuel_type,
        s.twin_id, s.twin_at, s.vehicle_class, s.has_plate_shape
    from fuel.computed_spans as s
    union all
    select
        true, r.plate, r.filled_at, r.id, r.fuel_type, r.litres, r.amount_kes, r.price_per_litre_kes, r.odometer_km,
        case when r.odometer_km > 2000000 then 'odometer_outlier' when (r.odometer_km >= 1) is not true then 'missing_odometer' end,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        (
            select k.class from fuel.vehicle_class as k
            where k.plate_pattern is null or r.plate ~ k.plate_pattern
            order by k.plate_pattern is null, k.rank limit 1
        ),
        fuel.has_plate_shape(r.plate)
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null and (r.plate is null or r.filled_at is null)
)
select
    f.is_apart, f.plate, f.filled_at, f.id, f.fuel_type, f.litres, f.amount_kes, f.price_per_litre_kes, f.odometer_km,
    eat.filled_at as filled_at_eat, f.status, f.distance_km, f.span_litres, f.km_per_litre, f.litres_per_100km, f.kes_per_km,
    f.rolling_km_per_litre, f.usual_km_per_litre, f.before_km, f.after_km, f.from_km, f.from_at, f.max_km, f.before_id, f.before_at,
    f.other_fuel_type, f.twin_id, f.twin_at, f.vehicle_class, cap.kes as cap_kes, p.is_floor as cap_is_floor,
    -- What the checks of reporting.v_fuel_anomalies find, but for dates ahead: those pass with time.
    nullif(array_remove(array[
        case
            when f.status = 'missing_odometer' then 'odometer_missing'
            when f.status = 'odometer_rollback' and f.odometer_km = f.from_km then 'odometer_unchanged'
            when f.status = 'odometer_rollback' or f.status = 'odometer_outlier' and f.odometer_km < f.before_km then 'odometer_rollback'
            when f.status in ('odometer_outlier', 'odometer_jump') then 'odometer_jump'
        end,
        case
            when f.usual_spans >= l.efficiency_min_spans and (f.times_usual < 1 / l.efficiency_factor or f.times_usual > l.efficiency_factor)
                then 'efficiency_outlier'
        end,
        case when f.filled_at - f.twin_at <= l.duplicate_within then 'duplicate_fill' end,
        case when f.filled_at - f.before_at < l.frequent_within then 'too_frequent' end,
        case when f.filled_at - f.before_at < l.driver_within then (
            select 'driver_changed' from fuel.records as r join fuel.records as before on before.id = f.before_id
            where r.id = f.id
            and lower(regexp_replace(r.driver, '\s+', ' ', 'g')) <> lower(regexp_replace(before.driver, '\s+', ' ', 'g'))
        ) end,
        case when f.other_fuel_type is not null then 'fuel_type_changed' end,
        case when f.litres > 0 and f.litres not between k.litres_min and k.litres_max then 'litres_implausible' end,
        case
            when f.amount_kes > 0 and (
                f.price_per_litre_kes not between l.price_min_kes and l.price_max_kes
                or f.price_per_litre_kes < cap.kes * l.price_least
                or (f.price_per_litre_kes > cap.kes * l.price_most and not p.is_floor)
            ) then 'price_out_of_range'
        end,
        case
            when case
                when l.odd_from_hour > l.odd_to_hour then eat.hour >= l.odd_from_hour or eat.hour < l.odd_to_hour
                else eat.hour >= l.odd_from_hour and eat.hour < l.odd_to_hour
            end
            -- A date without a time of day reads as midnight sharp.
            and eat.filled_at <> date_trunc('day', eat.filled_at) then 'odd_hours'
        end,
        case when f.has_plate_shape is not true then 'unknown_plate' end,
        case when f.fuel_type is null then 'unknown_fuel_type' end,
        case when (f.amount_kes > 0) is not true then 'missing_amount' end,
        case when (f.litres > 0) is not true then 'missing_litres' end
    ], null), '{}') as findings
from fills as f
cross join limits as l
left join fuel.vehicle_class as k on k.class = f.vehicle_class
left join caps as p on p.fuel_type = f.fuel_type
cross join lateral (
    select local.filled_at, extract(hour from local.filled_at) as hour
    from (select f.filled_at at time zone 'Africa/Nairobi' as filled_at offset 0) as local
    offset 0
) as eat
cross join lateral (select p.kes[width_bucket(eat.filled_at::date, p.since)] as kes offset 0) as cap;

create table fuel.fill_facts (
    is_apart             boolean not null check (not is_apart),
    plate                text collate "C" not null,
    filled_at            timestamptz not null,
    id                   bigint not null,
    fuel_type            text,
    litres               numeric,
    amount_kes           numeric,
    price_per_litre_kes  numeric,
    odometer_km          bigint,
    filled_at_eat        timestamp not null,
    status               text not null,
    distance_km          bigint,
    span_litres          numeric,
    km_per_litre         numeric,
    litres_per_100km     numeric,
    kes_per_km           numeric,
    rolling_km_per_litre numeric,
    usual_km_per_litre   double precision,
    before_km            bigint,
    after_km             bigint,
    from_km              bigint,
    from_at              timestamptz,
    max_km               bigint,
    before_id            bigint,
    before_at            timestamptz,
    other_fuel_type      text,
    twin_id              bigint,
    twin_at              timestamptz,
    vehicle_class        text,
    cap_kes              numeric,
    cap_is_floor         boolean,
    findings             text[],
    primary key (plate, filled_at, id)
);
create index fill_facts_by_time on fuel.fill_facts (filled_at);

comment on table fuel.fill_facts is 'What fuel.computed_fill_facts gave when each vehicle was last refreshed: written by fuel.refresh_fill_facts(), read through fuel.current_fill_facts, never edited.';
comment on column fuel.fill_facts.usual_km_per_litre is 'The median of the vehicle''s spans.';
comment on column fuel.fill_facts.before_id is 'The vehicle''s fill before this one.';
comment on column fuel.fill_facts.other_fuel_type is 'The fuel of the fill before, where it was another one.';
comment on column fuel.fill_facts.twin_id is 'The fill before, or the one before that, where litres and amount are the same.';
comment on column fuel.fill_facts.cap_kes is 'The pump price of that day, where known; cap_is_floor where this fuel is sold above it.';
comment on column fuel.fill_facts.findings is 'The checks that find the fill odd, whether or not rules/ has them switched on; null for most fills.';
comment on column fuel.fill_facts.is_apart is 'Fills without a plate or a time are few, and never stored.';

-- Nobody ever updates a mark and nobody waits for one: each transaction that touches a vehicle leaves its own. A refresh
-- deletes the marks it sees, then computes with a newer snapshot. What is not committed by then was not computed, but its
-- mark was not seen either, and stays.
create table fuel.stale_plates (
    plate     text collate "C" not null,
    marked_by xid8 not null default pg_current_xact_id(),
    primary key (plate, marked_by)
-- Kept from shrinking to no page at all: the planner would take reading it once a fill for free.
) with (vacuum_truncate = off);

comment on table fuel.stale_plates is 'Vehicles whose fuel.fill_facts may be out of date, one row per transaction that touched one.';

create view fuel.current_fill_facts as
select f.*
from fuel.fill_facts as f
where not exists (select from fuel.stale_plates as s where s.plate = f.plate)
union all
select
    false, stale.plate, c.filled_at, c.id, c.fuel_type, c.litres, c.amount_kes, c.price_per_litre_kes, c.odometer_km, c.filled_at_eat, c.status,
    c.distance_km, c.span_litres, c.km_per_litre, c.litres_per_100km, c.kes_per_km, c.rolling_km_per_litre, c.usual_km_per_litre,
    c.before_km, c.after_km, c.from_km, c.from_at, c.max_km, c.before_id, c.before_at, c.other_fuel_type, c.twin_id, c.twin_at,
    c.vehicle_class, c.cap_kes, c.cap_is_floor, c.findings
from (select distinct s.plate from fuel.stale_plates as s) as stale
-- Offset 0 keeps the planner from joining whole fleets: a vehicle is computed along its part of the index.
cross join lateral (select * from fuel.computed_fill_facts as f where f.plate = stale.plate and not f.is_apart offset 0) as c
union all
select f.*
from fuel.computed_fill_facts as f
where f.is_apart;

-- Marking. A load marks with its merge, in one go, and says so (fuel.marks_plates), because a trigger call a row would
-- be most of it; everybody else's edit is marked row by row.
create function fuel.mark_plates() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into fuel.stale_plates (plate)
    select touched.plate
    from (values (case when tg_op <> 'INSERT' then old.plate end), (case when tg_op <> 'DELETE' then new.plate end)) as touched (plate)
    where touched.plate is not null
    on conflict do nothing;
    return null;
end
$$;

create trigger mark_plate_of_new after insert on fuel.records
for each row when (current_setting('fuel.marks_plates', true) is distinct from 'on')
execute function fuel.mark_plates();

create trigger mark_plates_of_changed after update on fuel.records
for each row when (
    (
        old.id, old.plate, old.filled_at, old.fuel_type, old.driver, old.litres, old.amount_kes, old.price_per_litre_kes, old.odometer_km,
        old.deleted_at is null, old.absent_since is null
    ) is distinct from (
        new.id, new.plate, new.filled_at, new.fuel_type, new.driver, new.litres, new.amount_kes, new.price_per_litre_kes, new.odometer_km,
        new.deleted_at is null, new.absent_since is null
    )
    and current_setting('fuel.marks_plates', true) is distinct from 'on'
)
execute function fuel.mark_plates();

create trigger mark_plate_of_removed after delete on fuel.records
for each row execute function fuel.mark_plates();

-- Whoever truncates the records has them for himself: no refresh and no edit is under way.
create function fuel.forget_facts() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    truncate fuel.fill_facts, fuel.stale_plates;
    return null;
end
$$;

create trigger forget_facts after truncate on fuel.records
for each statement execute function fuel.forget_facts();

-- What the rules say that stored facts depend on. One row, and the lock that a refresh and a change of rules hold.
create table fuel.fill_facts_rules (
    is_only  boolean primary key default true check (is_only),
    computed text not null
);

create view fuel.current_fill_facts_rules as
select format(
    '%s %s %s %s',
    (select s from fuel.span_limit as s),
    (select to_jsonb(a) - 'future_within' from fuel.anomaly_limit as a),
    (select array_agg(k order by k.rank) from fuel.vehicle_class as k),
    (select array_agg(p order by p.fuel_type, p.valid_from) from fuel.pump_prices as p)
) as computed;

insert into fuel.fill_facts_rules (computed) select c.computed from fuel.current_fill_facts_rules as c;

create function fuel.mark_every_plate() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- An older snapshot would overlook vehicles that came meanwhile.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'facts of fills are marked stale in a read committed transaction only' using errcode = 'active_sql_transaction';
    end if;
    perform from fuel.fill_facts_rules for update;
    insert into fuel.stale_plates (plate)
    select distinct r.plate from fuel.records as r where r.deleted_at is null and r.absent_since is null and r.plate is not null
    union
    select distinct f.plate from fuel.fill_facts as f
    on conflict do nothing;
end
$$;

comment on function fuel.mark_every_plate() is 'Marks the facts of every vehicle as stale: for who has written fuel.records with triggers switched off, or changed the formula.';

create function fuel.mark_where_rules_changed() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update fuel.fill_facts_rules as r
    set computed = c.computed
    from fuel.current_fill_facts_rules as c
    where r.computed is distinct from c.computed;
    if found then
        perform fuel.mark_every_plate();
    end if;
    return null;
end
$$;

create trigger mark_where_rules_changed after insert or update or delete or truncate on fuel.check_limit
for each statement execute function fuel.mark_where_rules_changed();
create trigger mark_where_rules_changed after insert or update or delete or truncate on fuel.vehicle_class
for each statement execute function fuel.mark_where_rules_changed();
create trigger mark_where_rules_changed after insert or update or delete or truncate on fuel.pump_prices
for each statement execute function fuel.mark_where_rules_changed();

-- Computes stale vehicles anew, at least one, until so many fills are done; how many it did, and how many vehicles are
-- left. Where another refresh, or a change of rules, is under way, it leaves everything to that and to the next one.
create function fuel.refresh_fill_facts(max_fills bigint, out vehicles bigint, out fills bigint, out vehicles_left bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    chosen text[] := '{}';
    one    record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'facts of fills are refreshed in a read committed transaction only' using errcode = 'active_sql_transaction';
    end if;
    fills := 0;
    if exists (select from fuel.stale_plates) then
        -- The order in which a truncate locks, too.
        lock table fuel.records in access share mode;
        perform from fuel.fill_facts_rules for update skip locked;
        if found then
            for one in
                select
                    s.plate,
                    (
                        select count(*) from fuel.records as r
                        where r.plate = s.plate and r.filled_at is not null and r.deleted_at is null and r.absent_since is null
                    ) as fills
                from (select distinct p.plate from fuel.stale_plates as p order by p.plate) as s
            loop
                exit when cardinality(chosen) > 0 and fills + one.fills > max_fills;
                chosen := chosen || one.plate;
                fills := fills + one.fills;
            end loop;
            -- Marks first, each statement with a snapshot of its own: see fuel.stale_plates.
            delete from fuel.stale_plates as s where s.plate = any (chosen);
            delete from fuel.fill_facts as f where f.plate = any (chosen);
            insert into fuel.fill_facts
            select c.*
            from unnest(chosen) as v (plate)
            cross join lateral (select * from fuel.computed_fill_facts as f where f.plate = v.plate and not f.is_apart offset 0) as c;
            get diagnostics fills = row_count;
        end if;
    end if;
    vehicles := cardinality(chosen);
    select count(distinct s.plate) into vehicles_left from fuel.stale_plates as s;
end
$$;

comment on function fuel.refresh_fill_facts(bigint) is 'Computes facts of stale vehicles anew until so many fills are done; run by each import that wrote something, and by each `fleetfuel migrate` until none is left.';

do $$ begin perform fuel.mark_every_plate(); end $$;
