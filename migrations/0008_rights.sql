-- Who may do what: fuel_ingest runs imports, grafana_ro reads the reports, and nobody else is let in by the way.

-- Grants what the two roles need, on whatever exists by now, and takes back what default privileges may have given. A role
-- that does not exist is left out, what this user may not grant likewise; says what it did. Safe to run again and again.
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
    foreach one in array array['v_fuel_fills', 'v_fuel_efficiency', 'v_fuel_anomalies', 'v_ingest_health', 'v_ingest_runs'] loop
        if to_regclass('reporting.' || one) is not null then
            reports := reports || one;
        end if;
    end loop;

    revoke all on schema fuel from public;
    revoke all on all tables in schema fuel from public;
    revoke all on all sequences in schema fuel from public;
    revoke all on all functions in schema fuel from public;
    -- A view runs its functions with the rights of whoever reads it. This one says nothing about any record.
    grant execute on function fuel.has_plate_shape(text) to public;

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
        grant delete on fuel.ingest_state to fuel_ingest; -- an undone first run leaves no mark
        grant insert on fuel.record_versions, fuel.evidence_versions, fuel.ingest_runs, fuel.ingest_starts, fuel.stale_plates to fuel_ingest;
        grant update on fuel.run_lock to fuel_ingest; -- it has no columns: what this allows is to lock it
        grant usage on all sequences in schema fuel to fuel_ingest;
        grant execute on function
            fuel.norm_plate(text), fuel.clean_label(text), fuel.clean_department(text), fuel.canon_fuel_type(text), fuel.canon_department(text),
            fuel.read_number(text), fuel.read_time(text, text), fuel.derive(jsonb, timestamptz), fuel.derive_columns(), fuel.forget_fingerprint(),
            fuel.keep_version(), fuel.refresh_fill_facts(bigint), fuel.copy_devices(boolean)
        to fuel_ingest;
        if to_regprocedure('fuel.records_as_of(timestamptz)') is not null then
            grant execute on function fuel.records_as_of(timestamptz), fuel.records_as_of(timestamptz, bigint[]) to fuel_ingest;
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

comment on function fuel.grant_rights() is 'Gives fuel_ingest and grafana_ro what they need and no more; run by each `fleetfuel migrate`, says what it granted and what it left out.';

do $$ begin perform fuel.grant_rights(); end $$;
