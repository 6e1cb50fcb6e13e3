-- The tracker devices of vehicles: a copy of tracksolid.devices, if that table exists.

-- tracksolid.devices belongs to another program: it may be missing, lack columns, or not be readable for us. No object of ours
-- depends on it, so that its owner can change it freely. This is a copy, one device a plate, made anew by each applied run. If
-- the table cannot be read, the copy stays as it was, and fuel.devices_state says so.
create table fuel.devices (
    plate         text collate "C" primary key,
    imei          text,
    cost_centre   text,
    assigned_city text
);

comment on table fuel.devices is 'A copy of tracksolid.devices by normalised plate, made by fuel.copy_devices(). Of several devices with one plate, one with a cost centre is taken before one without, then the first by imei.';

create table fuel.devices_state (
    is_only   boolean primary key default true check (is_only),
    columns   text[] not null,
    is_broken boolean not null,
    said      text not null,
    since     timestamptz not null default now()
);

comment on table fuel.devices_state is 'What fuel.copy_devices() found last.';
comment on column fuel.devices_state.columns is 'The columns of tracksolid.devices that the copy was made from.';
comment on column fuel.devices_state.is_broken is 'Whether the devices could be read once and no longer can: the copy is from then.';
comment on column fuel.devices_state.since is 'When the other columns last changed.';

-- Copies the devices, and says what it found. If the table, or a column of it, is gone, `accepts_loss` takes that as done on
-- purpose; else the copy stays. Nothing that belongs to another role runs here with our rights: no view, no type, no policy.
create function fuel.copy_devices(accepts_loss boolean, out said text, out is_broken boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '3s'
as $$
#variable_conflict use_column
declare
    -- Not to_regclass: that fails if we may not use the schema.
    devices    constant oid := (
        select c.oid from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = 'tracksolid' and c.relname = 'devices' and c.relkind in ('r', 'p', 'v', 'm', 'f')
    );
    is_foreign_view constant boolean := exists (
        select from pg_class as c join pg_roles as owner on owner.oid = c.relowner
        where c.oid = devices and c.relkind = 'v' and owner.rolname <> current_user and not owner.rolsuper
    );
    before     text[] := coalesce((select s.columns from fuel.devices_state as s), '{}');
    found      text[] := '{}';
    unreadable text[] := '{}';
    problem    text;
    copied     fuel.devices[];
    one        record;
begin
    for one in
        with recursive given as (
            select a.attname::text as name, a.atttypid as type
            from pg_attribute as a
            where a.attrelid = devices and a.attnum > 0 and not a.attisdropped
            and a.attname in ('vehicle_number', 'imei', 'cost_centre', 'assigned_city')
            union all
            select g.name, t.typbasetype from given as g join pg_type as t on t.oid = g.type where t.typtype = 'd'
        )
        select g.name, t.typtype = 'e' or t.typnamespace = 'pg_catalog'::regnamespace or owner.rolsuper as is_trusted
        from given as g
        join pg_type as t on t.oid = g.type and t.typtype <> 'd'
        join pg_roles as owner on owner.oid = t.typowner
        order by array_position(array['vehicle_number', 'imei', 'cost_centre', 'assigned_city'], g.name)
    loop
        if one.is_trusted and not is_foreign_view
            and has_schema_privilege('tracksolid', 'usage') and has_column_privilege(devices, one.name, 'select') then
            found := found || one.name;
        else
            unreadable := unreadable || one.name;
        end if;
    end loop;

    said := case
        when devices is null then 'tracksolid.devices does not exist: imei, cost_centre and assigned_city stay null.'
        when is_foreign_view then 'tracksolid.devices is a view of another owner, which would run with our rights: '
            || 'imei, cost_centre and assigned_city stay null. A table or a materialized view can be read.'
        when cardinality(unreadable) > 0 and not 'vehicle_number' = any (found) then
            format('%I may not read tracksolid.devices: imei, cost_centre and assigned_city stay null. Grant it select on the table.', current_user)
        when not 'vehicle_number' = any (found) then
            'tracksolid.devices has no vehicle_number: imei, cost_centre and assigned_city stay null.'
        else 'Fills meet tracksolid.devices by vehicle_number; '
            || case when cardinality(found) = 1 then 'it has none of imei, cost_centre, assigned_city.'
                else 'it gives ' || array_to_string(found[2:], ', ') || '.' end
    end;
    if not 'vehicle_number' = any (found) then
        found := '{}';
    end if;

    if before <@ found or accepts_loss then
        begin
            if cardinality(found) > 0 then
                execute format(
                    'select array_agg(row(one.plate, one.imei, one.cost_centre, one.assigned_city)::fuel.devices) from ('
                    ' select distinct on (d.plate) d.* from ('
                    '  select fuel.norm_plate(d.vehicle_number::text) as plate, %s as imei, %s as cost_centre, %s as assigned_city'
                    '  from tracksolid.devices as d) as d'
                    ' where d.plate is not null'
                    ' order by d.plate, (d.cost_centre is not null) desc, d.imei collate "C", d.cost_centre collate "C", d.assigned_city collate "C"'
                    ') as one',
                    case when 'imei' = any (found) then $s$nullif(btrim(left(d.imei::text, 200)), '')$s$ else 'null::text' end,
                    case when 'cost_centre' = any (found) then $s$nullif(btrim(left(d.cost_centre::text, 200)), '')$s$ else 'null::text' end,
                    case when 'assigned_city' = any (found) then $s$nullif(btrim(left(d.assigned_city::text, 200)), '')$s$ else 'null::text' end
                ) into copied;
            end if;
            delete from fuel.devices as d
            where not exists (select from unnest(copied) as c where c.plate = d.plate and c is not distinct from d);
            insert into fuel.devices select c.* from unnest(copied) as c on conflict do nothing;
        exception when others then
            problem := format('tracksolid.devices cannot be read: %s (%s).', left(sqlerrm, 200), sqlstate);
        end;
    elsif devices is null then
        problem := 'tracksolid.devices does not exist any more.';
    elsif cardinality(found) = 0 then
        problem := replace(said, ': imei, cost_centre and assigned_city stay null.', '.');
    else
        problem := format(
            'tracksolid.devices no longer gives %s.',
            array_to_string(array(select b from unnest(before) as b where not b = any (found)), ', ')
        );
    end if;
    if problem is not null then
        said := problem || ' Fills show the devices as they were read last.';
        found := before;
    end if;

    is_broken := problem is not null;
    insert into fuel.devices_state as s (columns, is_broken, said)
    values (found, is_broken, said)
    on conflict (is_only) do update
    set columns = excluded.columns, is_broken = excluded.is_broken, said = excluded.said, since = now()
    where (s.columns, s.is_broken, s.said) is distinct from (excluded.columns, excluded.is_broken, excluded.said);
end
$$;

comment on function fuel.copy_devices(boolean) is 'Makes fuel.devices a copy of tracksolid.devices, and says what it found; run by each applied import and by `fleetfuel migrate`.';

do $$ begin perform fuel.copy_devices(true); end $$;
