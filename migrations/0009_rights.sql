-- Who may do what: fuel_ingest runs imports, grafana_ro reads the reports, and nobody else gets any right.

-- Besides records, a role that may only import can write lines of its own run only. So it cannot write in the ledger in the name
-- of another role, change what an earlier run left there, or move a mark without a line that says so.
create function fuel.need_own_run() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if (select pg_has_role(c.relowner, 'usage') from pg_class as c where c.oid = tg_relid) then
        return new;
    end if;
    if tg_table_name in ('ingest_runs', 'ingest_starts') then
        if tg_op = 'UPDATE' or new.role is distinct from session_user then
            raise exception 'the ledger takes lines of one''s own run only' using errcode = 'insufficient_privilege';
        end if;
        return new;
    end if;
    -- A run is under way after the line that it began and before the line that it ended; an undo may put back the mark of an
    -- earlier run.
    if not exists (
        select from fuel.ingest_starts as s
        where s.role = session_user and (s.run_id = new.run_id or tg_table_name = 'ingest_state')
        and not exists (select from fuel.ingest_runs as r where r.run_id = s.run_id and r.xmin <> pg_current_xact_id()::xid)
    ) then
        raise exception 'fuel.% takes lines of a run under way only', tg_table_name using errcode = 'insufficient_privilege';
    end if;
    if tg_table_name = 'ingest_state' then
        if new.watermark > now() + interval '1 day' then
            raise exception 'a mark does not lie in the future' using errcode = 'insufficient_privilege';
        end if;
    end if;
    return new;
end
$$;

create trigger need_own_run before insert or update on fuel.ingest_runs for each row execute function fuel.need_own_run();
create trigger need_own_run before insert or update on fuel.ingest_starts for each row execute function fuel.need_own_run();
create trigger need_own_run before insert or update on fuel.ingest_files for each row execute function fuel.need_own_run();
create trigger need_own_run before insert or update on fuel.ingest_state for each row execute function fuel.need_own_run();

-- What migrations make besides tables, each with the statement that makes it again: so `fleetfuel migrate` can bring back what a
-- dump left out or what somebody dropped, and doctor can say what is missing.
create table fuel.schema_objects (
    name      text primary key,
    place     integer not null,
    statement text not null
);

comment on table fuel.schema_objects is 'Views, functions, triggers and indexes of this schema and of its reports, as the last `fleetfuel migrate` left them.';

create view fuel.present_objects as
select format('view %I.%I', n.nspname, c.relname) as name, n.nspname as schema, c.relname::text as object, 2 as kind, c.oid as made,
    format('create view %I.%I as %s', n.nspname, c.relname, pg_get_viewdef(c.oid))
    || coalesce(format(' comment on view %I.%I is %L;', n.nspname, c.relname, obj_description(c.oid, 'pg_class')), '')
    || coalesce((
        select string_agg(format(' comment on column %I.%I.%I is %L;', n.nspname, c.relname, a.attname, col_description(c.oid, a.attnum)), '')
        from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0 and col_description(c.oid, a.attnum) is not null
    ), '') as statement
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('fuel', 'reporting') and c.relkind = 'v'
union all
select format('function %s', p.oid::regprocedure), 'fuel', p.proname::text, 1, p.oid,
    pg_get_functiondef(p.oid) || ';' || coalesce(format(' comment on function %s is %L;', p.oid::regprocedure, obj_description(p.oid, 'pg_proc')), '')
from pg_proc as p where p.pronamespace = 'fuel'::regnamespace and p.prokind = 'f'
union all
select format('index fuel.%I', i.relname), 'fuel', i.relname::text, 3, i.oid, pg_get_indexdef(i.oid) || ';'
from pg_class as i join pg_index as x on x.indexrelid = i.oid
where i.relnamespace = 'fuel'::regnamespace and not exists (select from pg_constraint as c where c.conindid = i.oid)
union all
select format('trigger %I on %s', t.tgname, t.tgrelid::regclass), 'fuel', t.tgname::text, 4, t.oid, pg_get_triggerdef(t.oid) || ';'
from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
where c.relnamespace = 'fuel'::regnamespace and not t.tgisinternal;

comment on view fuel.present_objects is 'The objects that exist now, of the kinds that fuel.schema_objects remembers.';

-- Remembers what exists; in the schema reporting, which others may use, too, only the views with these names.
create function fuel.remember_objects(reports text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    create temporary table ours on commit drop as
    select p.name, (row_number() over (order by p.kind, p.made))::integer as place, p.statement
    from fuel.present_objects as p
    where p.schema = 'fuel' or p.object = any (reports);
    delete from fuel.schema_objects as s where not exists (select from ours as o where (o.name, o.place, o.statement) = (s.name, s.place, s.statement));
    insert into fuel.schema_objects (name, place, statement) select o.name, o.place, o.statement from ours as o on conflict do nothing;
    drop table ours;
end
$$;

create function fuel.missing_objects() returns table (name text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select s.name from fuel.schema_objects as s
    where not exists (select from fuel.present_objects as p where p.name = s.name)
    order by s.place
$$;

-- Makes again what is missing, and says what. One object may need another: what cannot be made yet is tried again.
create function fuel.restore_objects() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = off
as $$
declare
    restored text[] := '{}';
    failed   text;
    before   integer;
    one      record;
begin
    if not exists (select from fuel.missing_objects()) then
        return null;
    end if;
    create schema if not exists reporting;
    loop
        before := cardinality(restored);
        failed := null;
        for one in
            select s.name, s.statement from fuel.schema_objects as s
            where s.name in (select m.name from fuel.missing_objects() as m) order by s.place
        loop
            begin
                execute one.statement;
                restored := restored || one.name;
            exception when others then
                failed := format('%s: %s', one.name, sqlerrm);
            end;
        end loop;
        exit when failed is null or cardinality(restored) = before;
    end loop;
    if failed is not null then
        raise exception 'cannot be made again: %', failed;
    end if;
    return array_to_string(restored, ', ');
end
$$;

comment on function fuel.restore_objects() is 'Makes again the objects of fuel.schema_objects that are missing; run by each `fleetfuel migrate`.';

-- Grants what the two roles need on what exists by now, and takes back what default privileges may have given. Roles that do not
-- exist, and rights that this user may not grant, are left out. Says what it did. It is safe to run it again.
create function fuel.grant_rights() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    reports     text[] := '{}';
    said        text[] := '{}';
    one         text;
    grantable   boolean;
    reader      constant name := 'grafana_ro';
    writer      constant name := 'fuel_ingest';
    owns_report constant boolean := (select pg_has_role(n.nspowner, 'usage') from pg_namespace as n where n.nspname = 'reporting');
begin
    foreach one in array array['v_fuel_fills', 'v_fuel_efficiency', 'v_fuel_anomalies', 'v_fuel_monthly', 'v_ingest_health', 'v_ingest_runs'] loop
        if to_regclass('reporting.' || one) is not null then
            reports := reports || one;
        end if;
    end loop;

    revoke all on schema fuel from public;
    revoke all on all tables in schema fuel from public;
    revoke all on all sequences in schema fuel from public;
    revoke all on all functions in schema fuel from public;
    -- A view runs its functions with the rights of its reader. These functions give nothing that the reports do not give.
    grant execute on function
        fuel.feed_zone(), fuel.has_plate_shape(text), fuel.family_of(text), fuel.driver_words(text), fuel.clean_driver(text),
        fuel.said_time(jsonb), fuel.twins_of(bigint[], interval), fuel.is_usable_report(timestamptz, timestamptz), fuel.is_double(fuel.usual, bigint, text, bigint, numeric, numeric),
        fuel.fuel_of(text, bigint[]), fuel.far_spans(fuel.anomaly_limit, bigint[], bigint[], numeric[], numeric[], boolean[]),
        fuel.explaining_record(text, timestamptz, timestamptz, bigint, numeric, double precision)
    to public;
    -- These come with later migrations.
    if to_regprocedure('fuel.facts_of(text)') is not null then
        grant execute on function fuel.facts_of(text), fuel.facts_apart() to public;
    end if;
    if to_regprocedure('fuel.time_in_words(interval)') is not null then
        grant execute on function fuel.time_in_words(interval) to public;
    end if;

    if exists (select from pg_roles as r where r.rolname = reader) then
        revoke all on schema fuel from grafana_ro;
        revoke all on all tables in schema fuel from grafana_ro;
        revoke all on all sequences in schema fuel from grafana_ro;
        foreach one in array reports loop
            execute format('revoke all on reporting.%I from grafana_ro', one);
            execute format('grant select on reporting.%I to grafana_ro', one);
        end loop;
        if not has_schema_privilege(reader, 'reporting', 'usage') then
            if owns_report then
                grant usage on schema reporting to grafana_ro;
            else
                said := said || format('Schema reporting belongs to somebody else: ask its owner to grant usage on it to %I.', reader);
            end if;
        end if;
        said := said || format('%I may read %s.', reader, array_to_string(reports, ', '));
    else
        said := said || format('Role %I does not exist: nothing granted to it.', reader);
    end if;

    if exists (select from pg_roles as r where r.rolname = writer) then
        grant usage on schema fuel to fuel_ingest;
        grant select on all tables in schema fuel to fuel_ingest;
        grant insert, update on fuel.records, fuel.ingest_files, fuel.ingest_state, fuel.rejects, fuel.undone_lists to fuel_ingest;
        grant delete on fuel.ingest_state to fuel_ingest; -- to undo the first run removes its mark
        grant insert on fuel.evidence_versions, fuel.ingest_runs, fuel.ingest_starts to fuel_ingest;
        revoke insert on fuel.record_versions from fuel_ingest;
        grant update on fuel.run_lock to fuel_ingest; -- it has no columns: this only allows to lock it
        grant usage on all sequences in schema fuel to fuel_ingest;
        grant execute on function
            fuel.norm_plate(text), fuel.clean_label(text), fuel.clean_department(text), fuel.canon_fuel_type(text), fuel.canon_department(text),
            fuel.read_number(text), fuel.read_time(text, text), fuel.derive(jsonb, timestamptz), fuel.derive_columns(), fuel.forget_fingerprint(),
            fuel.copy_devices(boolean), fuel.column_shares(text[]),
            fuel.need_own_run(), fuel.missing_objects()
        to fuel_ingest;
        if to_regprocedure('fuel.records_as_of(timestamptz)') is not null then
            grant execute on function fuel.records_as_of(timestamptz), fuel.records_as_of(timestamptz, bigint[]) to fuel_ingest;
        end if;
        if to_regclass('fuel.stale_vehicles') is not null then
            grant insert on fuel.stale_vehicles to fuel_ingest;
            grant execute on function fuel.refresh_fill_facts(bigint) to fuel_ingest;
        end if;
        foreach one in array reports loop
            execute format('grant select on reporting.%I to fuel_ingest', one);
        end loop;
        if not has_schema_privilege(writer, 'reporting', 'usage') then
            if owns_report then
                grant usage on schema reporting to fuel_ingest;
            else
                said := said || format('Schema reporting belongs to somebody else: ask its owner to grant usage on it to %I.', writer);
            end if;
        end if;
        if not has_database_privilege(writer, current_database(), 'temporary') then
            grantable := (select pg_has_role(d.datdba, 'usage') from pg_database as d where d.datname = current_database());
            if grantable then
                execute format('grant temporary on database %I to fuel_ingest', current_database());
            else
                said := said || format('The database belongs to somebody else: ask its owner to grant temporary on it to %I.', writer);
            end if;
        end if;
        said := said || format('%I may run imports.', writer);
    else
        said := said || format('Role %I does not exist: nothing granted to it.', writer);
    end if;
    return array_to_string(said, ' ');
end
$$;

comment on function fuel.grant_rights() is 'Gives fuel_ingest and grafana_ro the rights that they need and no more; run by each `fleetfuel migrate`, and says what it granted and what it left out.';

do $$ begin perform fuel.grant_rights(); end $$;
