-- Live fills for analysts, each with at most one tracker device, bound to tracksolid.devices as far as that table exists.

-- The order in which every view walks through a vehicle's fills, with the bounded columns that consumption needs, so
-- that it is computed from the index alone. No free text: an index entry has a size limit, a driver's name has none.
create index records_live_by_plate on fuel.records (plate, filled_at, id)
include (odometer_km, litres, amount_kes, price_per_litre_kes, fuel_type)
where deleted_at is null and absent_since is null;

create index records_live_by_time on fuel.records (filled_at)
where deleted_at is null and absent_since is null;

-- tracksolid.devices belongs to somebody else: it may be missing, lack columns, or not be readable for us. The view is
-- written for what is there, and written again when that changes. Says what it bound.
create function fuel.bind_devices() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $bind$
declare
    -- Not to_regclass: that is refused where the schema may not be used.
    devices    constant oid := (
        select c.oid from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = 'tracksolid' and c.relname = 'devices' and c.relkind in ('r', 'p', 'v', 'm', 'f')
    );
    bound      text[] := '{}';
    unreadable text[] := '{}';
    said       text;
    definition text;
    signature  text;
    one        text;
begin
    foreach one in array array['vehicle_number', 'imei', 'cost_centre', 'assigned_city'] loop
        if exists (select from pg_attribute as a where a.attrelid = devices and a.attname = one and a.attnum > 0 and not a.attisdropped) then
            if has_schema_privilege('tracksolid', 'usage') and has_column_privilege(devices, one, 'select') then
                bound := bound || one;
            else
                unreadable := unreadable || one;
            end if;
        end if;
    end loop;

    said := case
        when devices is null then 'tracksolid.devices does not exist: imei, cost_centre and assigned_city stay null.'
        when cardinality(unreadable) > 0 and not 'vehicle_number' = any (bound) then
            format('%I may not read tracksolid.devices: imei, cost_centre and assigned_city stay null. Grant it select on the table.', current_user)
        when not 'vehicle_number' = any (bound) then
            'tracksolid.devices has no vehicle_number: imei, cost_centre and assigned_city stay null.'
        else 'Fills meet tracksolid.devices by vehicle_number; '
            || case when cardinality(bound) = 1 then 'it has none of imei, cost_centre, assigned_city.'
                else 'it gives ' || array_to_string(bound[2:], ', ') || '.' end
    end;
    if not 'vehicle_number' = any (bound) then
        bound := '{}';
    end if;

    definition := $view$
select
    r.id,
    r.filled_at,
    r.filled_at at time zone 'Africa/Nairobi' as filled_at_eat,
    (r.filled_at at time zone 'Africa/Nairobi')::date as filled_on,
    r.plate,
    r.car,
    r.driver,
    r.department,
    r.fuel_type,
    r.litres,
    r.amount_kes,
    r.price_per_litre_kes,
    r.odometer_km,
    device.imei,
    device.cost_centre,
    device.assigned_city
from fuel.records as r
left join (
    -- One device a plate: one with a cost centre before one without, then by imei. A vehicle may carry two. Each device
    -- is normalised once a query (offset 0 keeps it so), and the planner sees that a fill meets one at most.
    select distinct on (one.plate) one.plate, one.imei, one.cost_centre, one.assigned_city
    from ($view$ || case
        when 'vehicle_number' = any (bound) then format(
            'select fuel.norm_plate(d.vehicle_number::text) as plate, %s as imei, %s as cost_centre, %s as assigned_city from tracksolid.devices as d',
            case when 'imei' = any (bound) then $$nullif(btrim(d.imei::text), '')$$ else 'null::text' end,
            case when 'cost_centre' = any (bound) then $$nullif(btrim(d.cost_centre::text), '')$$ else 'null::text' end,
            case when 'assigned_city' = any (bound) then $$nullif(btrim(d.assigned_city::text), '')$$ else 'null::text' end
        )
        else 'select null::text as plate, null::text as imei, null::text as cost_centre, null::text as assigned_city where false'
    end || $view$ offset 0) as one
    where one.plate is not null
    order by one.plate, (one.cost_centre is not null) desc, one.imei collate "C", one.cost_centre collate "C", one.assigned_city collate "C"
) as device on device.plate = r.plate
where r.deleted_at is null and r.absent_since is null$view$;

    signature := format('Live fills, at most one device each, times also in East Africa Time. %s [%s]', said, left(md5(definition), 8));
    if signature is distinct from obj_description(to_regclass('reporting.v_fuel_fills'), 'pg_class') then
        execute 'create or replace view reporting.v_fuel_fills as' || definition;
        execute format('comment on view reporting.v_fuel_fills is %L', signature);
    end if;
    return said;
end
$bind$;

comment on function fuel.bind_devices() is 'Writes reporting.v_fuel_fills for the columns tracksolid.devices has today; does nothing where the view is right already.';

do $$ begin perform fuel.bind_devices(); end $$;
