-- What a fill is worth to the reports depends on the other fills of its vehicle: spans, neighbours, the vehicle's usual
-- consumption. That is computed once a vehicle and stored; a vehicle whose stored facts may be out of date is *stale*.
--
--     fuel.computed_fill_facts   the formula, the only one: always right, and slow for a whole fleet
--     fuel.fill_facts            what it gave when a vehicle was last refreshed
--     fuel.stale_plates          the vehicles touched since
--     fuel.current_fill_facts    what the reports read: stored facts, and the formula itself for stale vehicles
--
-- So a report is always right; staleness only costs time. A later migration that changes the formula, or that writes
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

-- Every live fill with a plate and a time, in its vehicle's order, with the span it closes.
--
-- A span runs from the last good reading before a fill to the fill's own reading; its litres are all litres filled after
-- that reading, up to and including this fill, so those of a fill without a reading go to the next span. A reading that
-- lies outside its two neighbours while these agree with each other is an outlier and voids only itself.
--
-- Running totals never fall, so the total at the last good reading is the greatest one among the good readings so far; an
-- odometer may fall, so it rides in the low bits of the fill's number. Fills without a reading are walked through apart
-- (has_reading is part of every partition behind the first). `where plate = …` reaches the index below all windows.
create view fuel.computed_fill_facts as
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
        case when d.status = 'ok' then (d.km / d.litres_since)::double precision end as ratio,
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
        row_number() over (partition by r.plate order by r.ratio) as nth,
        count(r.ratio) over vehicle as ratios,
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
            min(k.ratio) filter (where k.nth = (k.ratios + 1) / 2) over vehicle
            + max(k.ratio) filter (where k.nth = k.ratios / 2 + 1) over vehicle
        ) / 2 as median
    from ranked as k
    window vehicle as (partition by k.plate)
)
select
    u.plate,
    u.filled_at,
    u.id,
    u.fuel_type,
    u.litres,
    u.amount_kes,
    u.price_per_litre_kes,
    u.odometer_km,
    u.filled_at at time zone 'Africa/Nairobi' as filled_at_eat,
    u.status,
    -- Consumption.
    case when u.status in ('ok', 'no_litres') then u.km end as distance_km,
    case when u.status = 'ok' then u.litres_since end as span_litres,
    case when u.status = 'ok' then round(u.km / u.litres_since, 3) end as km_per_litre,
    case when u.status = 'ok' then round(u.litres_since * 100 / u.km, 3) end as litres_per_100km,
    case
        when u.status in ('ok', 'no_litres') and u.with_kes_so_far - u.from_with_kes_so_far = u.fills_since
            then round((u.kes_so_far - u.from_kes_so_far) / u.km, 3)
    end as kes_per_km,
    case when u.status = 'ok' then round(u.rolling_km / u.rolling_litres, 3) end as rolling_km_per_litre,
    u.median as usual_km_per_litre,
    u.ratios as usual_spans,
    u.ratio / u.median as times_usual,
    -- What an odd reading is held against.
    case when u.has_reading and u.status = 'odometer_outlier' then u.before_km end as before_km,
    case when u.has_reading and u.status = 'odometer_outlier' then u.after_km end as after_km,
    case when u.status in ('odometer_rollback', 'odometer_jump') then u.from_km end as from_km,
    case when u.status in ('odometer_rollback', 'odometer_jump') then u.from_at end as from_at,
    case
        when u.status = 'odometer_jump'
            then least(u.per_span, u.per_day * greatest(1, extract(epoch from u.filled_at - u.from_at) / 86400))::bigint
    end as max_km,
    -- The fill before, and what is to be said of it.
    u.before_id,
    u.before_at,
    -- V-Power is a petrol.
    case
        when u.fuel_type <> u.before_fuel_type
        and not (u.fuel_type in ('PETROL', 'V-POWER') and u.before_fuel_type in ('PETROL', 'V-POWER')) then u.before_fuel_type
    end as other_fuel_type,
    case when u.is_like_before then u.before_id when u.is_like_before_that then u.before_that_id end as twin_id,
    case when u.is_like_before then u.before_at when u.is_like_before_that then u.before_that_at end as twin_at,
    u.vehicle_class,
    u.has_plate_shape
from usual as u;

create table fuel.fill_facts (
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
    usual_spans          bigint not null,
    times_usual          double precision,
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
    has_plate_shape      boolean not null,
    primary key (plate, filled_at, id)
);
create index fill_facts_by_time on fuel.fill_facts (filled_at);

comment on table fuel.fill_facts is 'What fuel.computed_fill_facts gave when each vehicle was last refreshed: written by fuel.refresh_fill_facts(), read through fuel.current_fill_facts, never edited.';
comment on column fuel.fill_facts.usual_km_per_litre is 'The median of the vehicle''s spans; usual_spans is how many these are, times_usual this span''s ratio to it.';
comment on column fuel.fill_facts.before_id is 'The vehicle''s fill before this one.';
comment on column fuel.fill_facts.other_fuel_type is 'The fuel of the fill before, where it was another one.';
comment on column fuel.fill_facts.twin_id is 'The fill before, or the one before that, where litres and amount are the same.';

-- Nobody ever updates a mark and nobody waits for one: each transaction that touches a vehicle leaves its own. A refresh
-- deletes the marks it sees, then computes with a newer snapshot. What is not committed by then was not computed, but its
-- mark was not seen either, and stays.
create table fuel.stale_plates (
    plate     text collate "C" not null,
    marked_by xid8 not null default pg_current_xact_id(),
    primary key (plate, marked_by)
);

comment on table fuel.stale_plates is 'Vehicles whose fuel.fill_facts may be out of date, one row per transaction that touched one.';

create view fuel.current_fill_facts as
select f.*
from fuel.fill_facts as f
where not exists (select from fuel.stale_plates as s where s.plate = f.plate)
union all
select
    stale.plate, c.filled_at, c.id, c.fuel_type, c.litres, c.amount_kes, c.price_per_litre_kes, c.odometer_km, c.filled_at_eat, c.status,
    c.distance_km, c.span_litres, c.km_per_litre, c.litres_per_100km, c.kes_per_km, c.rolling_km_per_litre, c.usual_km_per_litre,
    c.usual_spans, c.times_usual, c.before_km, c.after_km, c.from_km, c.from_at, c.max_km, c.before_id, c.before_at, c.other_fuel_type, c.twin_id,
    c.twin_at, c.vehicle_class, c.has_plate_shape
from (select distinct s.plate from fuel.stale_plates as s) as stale
-- Offset 0 keeps the planner from joining whole fleets: a vehicle is computed along its part of the index.
cross join lateral (select * from fuel.computed_fill_facts as f where f.plate = stale.plate offset 0) as c;

-- Marking. A load marks with its merge, in one go, and says so (fuel.marks_plates), because a trigger call a row would
-- be most of it; everybody else's edit is marked row by row.
create function fuel.mark_plates() returns trigger
language plpgsql security definer
set search_path = pg_catalog
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
        old.id, old.plate, old.filled_at, old.fuel_type, old.litres, old.amount_kes, old.price_per_litre_kes, old.odometer_km,
        old.deleted_at is null, old.absent_since is null
    ) is distinct from (
        new.id, new.plate, new.filled_at, new.fuel_type, new.litres, new.amount_kes, new.price_per_litre_kes, new.odometer_km,
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
set search_path = pg_catalog
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
    '%s km a span, %s km a day, %s rolling spans; %s', l.per_span, l.per_day, l.rolling_spans,
    (select string_agg(format('%s %s', k.class, coalesce(k.plate_pattern, 'else')), ', ' order by k.rank) from fuel.vehicle_class as k)
) as computed
from fuel.span_limit as l;

insert into fuel.fill_facts_rules (computed) select now_.computed from fuel.current_fill_facts_rules as now_;

create function fuel.mark_every_plate() returns void
language plpgsql security definer
set search_path = pg_catalog
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
set search_path = pg_catalog
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

-- Computes stale vehicles anew, at least one, until so many fills are done; how many it did, and how many vehicles are
-- left. Where another refresh, or a change of rules, is under way, it leaves everything to that and to the next one.
create function fuel.refresh_fill_facts(max_fills bigint, out vehicles bigint, out fills bigint, out vehicles_left bigint)
language plpgsql security definer
set search_path = pg_catalog
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
            cross join lateral (select * from fuel.computed_fill_facts as f where f.plate = v.plate offset 0) as c;
            get diagnostics fills = row_count;
        end if;
    end if;
    vehicles := cardinality(chosen);
    select count(distinct s.plate) into vehicles_left from fuel.stale_plates as s;
end
$$;

comment on function fuel.refresh_fill_facts(bigint) is 'Computes facts of stale vehicles anew until so many fills are done; run by each import that wrote something, and by each `fleetfuel migrate` until none is left.';

do $$ begin perform fuel.mark_every_plate(); end $$;
