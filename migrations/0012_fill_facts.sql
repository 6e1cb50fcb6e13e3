-- What the reports say of a fill depends on the other fills of its vehicle: the span it closes, the fill before, what the
-- vehicle usually needs. That is computed once a vehicle and stored; a vehicle that was touched since is *stale*.
--
--     fuel.computed_fill_facts   the formula (0005 to 0008), the only one: always right, and slow for a whole fleet
--     fuel.fill_facts            what it gave when each vehicle was last refreshed
--     fuel.stale_vehicles        the vehicles touched since
--     fuel.current_fill_facts    what the reports read: stored facts, and the formula itself for stale vehicles
--
-- So a report is always right; staleness only costs time. A later migration that changes the formula, and whoever writes
-- fuel.records with its triggers switched off, calls fuel.mark_every_vehicle().

create table fuel.fill_facts as table fuel.computed_fill_facts with no data;
alter table fuel.fill_facts add primary key (vehicle, filled_at, id), add check (not is_apart);
create index fill_facts_by_plate on fuel.fill_facts (plate, filled_at);
-- What a range of time is mostly asked for (litres and money by vehicle and day) is answered from the index alone.
create index fill_facts_by_time on fuel.fill_facts (filled_at) include (vehicle, plate, id, filled_at_eat, litres, amount_kes);
-- The few fills that some check finds odd, so that nobody reads all the others to find them.
create index fill_facts_found on fuel.fill_facts (filled_at) include (vehicle, vehicle_class, findings) where findings is not null;

comment on table fuel.fill_facts is 'What fuel.computed_fill_facts gave when each vehicle was last refreshed: written by fuel.refresh_fill_facts(), read through fuel.current_fill_facts, never edited.';
comment on column fuel.fill_facts.is_apart is 'Fills without a plate or a time are few, and never stored.';
comment on column fuel.fill_facts.findings is 'The checks that find the fill odd, whether or not rules/ has them switched on; null for most fills.';

-- Nobody ever updates a mark and nobody waits for one: each transaction that touches a vehicle leaves its own. A refresh
-- deletes the marks it sees, then computes with a newer snapshot. What is not committed by then was not computed, but its
-- mark was not seen either, and stays.
create table fuel.stale_vehicles (
    vehicle   text collate "C" not null,
    marked_by xid8 not null default pg_current_xact_id(),
    primary key (vehicle, marked_by)
-- Kept from shrinking to no page at all: the planner would take reading it once a fill for free.
) with (vacuum_truncate = off);

comment on table fuel.stale_vehicles is 'Vehicles whose fuel.fill_facts may be out of date, one row per transaction that touched one.';

-- The formula for one vehicle, along its part of the index, and for the fills that belong to none. Functions, so that a question
-- that meets no stale vehicle does not plan the formula, which takes longer than most answers. One plan serves all vehicles
-- of a session; by itself, the server makes five before it thinks of keeping one. It is not compiled (jit): that
-- would be done anew for each vehicle, and take longer than the vehicle. And it goes along indexes: PostgreSQL 15 takes one
-- vehicle for the whole fleet, and would read that once a vehicle.
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

create view fuel.current_fill_facts as
select f.*
from fuel.fill_facts as f
where not exists (select from fuel.stale_vehicles as s where s.vehicle = f.vehicle)
union all
select
    false, stale.vehicle, c.filled_at, c.id, stale.plate, c.car, c.driver, c.driver_name, c.department, c.filled_at_is_assumed,
    c.reported_at, c.fuel_type, c.fuel_family, c.litres, c.amount_kes, c.price_per_litre_kes, c.odometer_km, c.filled_at_eat, c.status,
    c.distance_km, c.span_litres, c.span_amount_kes, c.from_at, c.from_km, c.km_per_litre, c.litres_per_100km, c.kes_per_km,
    c.rolling_km_per_litre, c.rolling_spans_used, c.usual_km_per_litre, c.odd_km, c.odd_litres, c.is_too_fast, c.is_after_first,
    c.before_km, c.after_km, c.max_km, c.last_stop_id, c.before_id, c.before_at, c.usual_family, c.superseded_by, c.unclear_with, c.next_span_id,
    c.explained_by, c.is_swapped, c.is_too_dear, c.vehicle_class, c.tank_litres, c.most_litres, c.cap_kes, c.cap_is_floor, c.cap_is_old,
    c.findings
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
    true, f.vehicle, f.filled_at, f.id, f.plate, f.car, f.driver, f.driver_name, f.department, f.filled_at_is_assumed,
    f.reported_at, f.fuel_type, f.fuel_family, f.litres, f.amount_kes, f.price_per_litre_kes, f.odometer_km, f.filled_at_eat, f.status,
    f.distance_km, f.span_litres, f.span_amount_kes, f.from_at, f.from_km, f.km_per_litre, f.litres_per_100km, f.kes_per_km,
    f.rolling_km_per_litre, f.rolling_spans_used, f.usual_km_per_litre, f.odd_km, f.odd_litres, f.is_too_fast, f.is_after_first,
    f.before_km, f.after_km, f.max_km, f.last_stop_id, f.before_id, f.before_at, f.usual_family, f.superseded_by, f.unclear_with, f.next_span_id,
    f.explained_by, f.is_swapped, f.is_too_dear, f.vehicle_class, f.tank_litres, f.most_litres, f.cap_kes, f.cap_is_floor, f.cap_is_old,
    f.findings
from fuel.facts_apart() as f;

-- Marking. A load marks what it writes with its merge, in one go, and says so (fuel.marks_plates), because a trigger call a
-- row would be most of it; everybody else's edit is marked row by row, and so is a row of which a load only notes newer
-- evidence (its run stays): that seldom changes a fact, but it may make the time of the report usable.
create function fuel.mark_vehicles() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into fuel.stale_vehicles (vehicle)
    select touched.vehicle
    from (values (case when tg_op <> 'INSERT' then old.vehicle end), (case when tg_op <> 'DELETE' then new.vehicle end)) as touched (vehicle)
    where touched.vehicle is not null
    on conflict do nothing;
    return null;
end
$$;

create trigger mark_vehicle_of_new after insert on fuel.records
for each row when (current_setting('fuel.marks_plates', true) is distinct from 'on')
execute function fuel.mark_vehicles();

create trigger mark_vehicles_of_changed after update on fuel.records
for each row when (
    (
        old.id, old.vehicle, old.plate, old.car, old.filled_at, old.filled_at_is_assumed, old.source_created_at, old.fuel_type, old.driver,
        old.department, old.litres, old.amount_kes, old.price_per_litre_kes, old.odometer_km, old.deleted_at is null, old.absent_since is null,
        old.source_created_at <= old.source_at + interval '1 day'
    ) is distinct from (
        new.id, new.vehicle, new.plate, new.car, new.filled_at, new.filled_at_is_assumed, new.source_created_at, new.fuel_type, new.driver,
        new.department, new.litres, new.amount_kes, new.price_per_litre_kes, new.odometer_km, new.deleted_at is null, new.absent_since is null,
        new.source_created_at <= new.source_at + interval '1 day'
    )
    and (new.run_id is not distinct from old.run_id or current_setting('fuel.marks_plates', true) is distinct from 'on')
)
execute function fuel.mark_vehicles();

create trigger mark_vehicle_of_removed after delete on fuel.records
for each row execute function fuel.mark_vehicles();

-- Whoever truncates the records has them for himself: no refresh and no edit is under way.
create function fuel.forget_facts() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    truncate fuel.fill_facts, fuel.stale_vehicles;
    return null;
end
$$;

create trigger forget_facts after truncate on fuel.records
for each statement execute function fuel.forget_facts();

create table fuel.fill_facts_rules (
    is_only  boolean primary key default true check (is_only),
    computed text not null
);

comment on table fuel.fill_facts_rules is 'What the rules said that stored facts depend on. One row, and the lock that a refresh and a change of rules hold.';

create view fuel.current_fill_facts_rules as
select format(
    '%s %s %s %s %s %s',
    (select s from fuel.span_limit as s),
    (select a from fuel.anomaly_limit as a),
    (select array_agg(k order by k.rank) from fuel.vehicle_class as k),
    (select array_agg(p order by p.fuel_type, p.valid_from) from fuel.pump_prices as p),
    (select array_agg(k order by k.plate) from fuel.known_vehicle as k),
    (select f.zone from fuel.feed_rule as f)
) as computed;

insert into fuel.fill_facts_rules (computed) select c.computed from fuel.current_fill_facts_rules as c;

create function fuel.mark_every_vehicle() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- An older snapshot would overlook vehicles that came meanwhile.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'facts of fills are marked stale in a read committed transaction only' using errcode = 'active_sql_transaction';
    end if;
    perform from fuel.fill_facts_rules for update;
    insert into fuel.stale_vehicles (vehicle)
    select distinct r.vehicle from fuel.records as r where r.deleted_at is null and r.absent_since is null and r.vehicle is not null
    union
    select distinct f.vehicle from fuel.fill_facts as f
    on conflict do nothing;
end
$$;

comment on function fuel.mark_every_vehicle() is 'Marks the facts of every vehicle as stale: for who has written fuel.records with triggers switched off, or changed the formula.';

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
        perform fuel.mark_every_vehicle();
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
create trigger mark_where_rules_changed after insert or update or delete or truncate on fuel.feed_rule
for each statement execute function fuel.mark_where_rules_changed();
create trigger mark_where_rules_changed after insert or update or delete or truncate on fuel.known_vehicle
for each statement execute function fuel.mark_where_rules_changed();

-- Computes stale vehicles anew, at least one, until so many fills are done; how many it did, and how many vehicles are
-- left. If another refresh, or a change of rules, is under way, it leaves everything to that and to the next one. Its plan is
-- made as that of fuel.facts_of: compiled, it took 21 seconds for 10,000 fills, and the whole refresh 1.5 without.
create function fuel.refresh_fill_facts(max_fills bigint, out vehicles bigint, out fills bigint, out vehicles_left bigint)
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
            if fills >= 1000 and not exists (select from pg_stats as s where s.schemaname = 'fuel' and s.tablename = 'fill_facts') then
                analyze fuel.fill_facts;
            end if;
        end if;
    end if;
    vehicles := cardinality(chosen);
    select count(distinct s.vehicle) into vehicles_left from fuel.stale_vehicles as s;
end
$$;

comment on function fuel.refresh_fill_facts(bigint) is 'Computes facts of stale vehicles anew until so many fills are done; run by each import that wrote something, and by each `fleetfuel migrate` until none is left.';

do $$ begin perform fuel.mark_every_vehicle(); end $$;
