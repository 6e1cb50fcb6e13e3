-- The derivation: triggers that derive columns from `raw`, drop the fingerprint of a row that somebody else edits, and keep each overwritten version.

-- What the source calls its fields, until `fleetfuel migrate` syncs rules/fields.toml.
insert into fuel.source_field (field, alias, rank)
select named.field, named.alias, named.rank
from (values
    ('id', 'id', 1), ('created_at', 'created_at', 1), ('updated_at', 'updated_at', 1), ('deleted_at', 'deleted_at', 1), ('is_deleted', 'is_deleted', 1),
    ('filled_at', 'datetime', 1), ('filled_at', 'fuel_date', 2), ('filled_at', 'filled_at', 3), ('filled_at', 'date', 4),
    ('department', 'department', 1), ('driver', 'driver', 1), ('car', 'car', 1), ('car', 'plate', 2), ('car', 'vehicle', 3),
    ('litres', 'liters', 1), ('litres', 'litres', 2), ('amount_kes', 'amount', 1), ('fuel_type', 'type', 1), ('fuel_type', 'fuel_type', 2),
    ('odometer_km', 'odometer', 1), ('sender', 'sender', 1), ('raw_message', 'raw_message', 1)
) as named (field, alias, rank)
where not exists (select from fuel.source_field);

-- And its time zone, until then.
insert into fuel.feed_rule (zone)
select 'Africa/Nairobi'
where not exists (select from fuel.feed_rule);

-- Writes the functions that read a record, with the names and spellings of the rule tables as constants: a look-up in a table
-- for each row would make deriving 1.7 times as slow. A field is first tried by its first name in its usual shape, then with
-- care: all its names in order, only texts and numbers, not blank. At most 2,000 characters of a field are read. Returns true
-- if the functions had to be written again.
create function fuel.rebuild_reader() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $rebuild$
declare
    wanted text;
    first  text;
    any_of text;
    named  text;
    feed_zone text;
    body   text := $body$
    -- A compressed or out-of-line value is opened once, not once a field.
    source := fill.raw;
    if pg_column_size(source) > 1500 then
        source := source || '{}';
    end if;

    written := {car:first};
    if written ~ '^K[A-HJ-NP-Z]{2,3} ?[0-9]{3}[A-HJ-NP-Z]$' then
        fill.car := written;
        fill.plate := replace(written, ' ', '');
    else
        fill.car := {car};
        fill.plate := fuel.norm_plate(fill.car);
    end if;
    fill.vehicle := coalesce({vehicles} ->> fill.plate, fill.plate);

    written := {driver:first};
    if ascii(written) > 64 and ascii(written) not in (91, 123) and right(written, 1) > ' ' collate "C" and written not in ('true', 'false') then
        fill.driver := written;
    else
        fill.driver := {driver};
    end if;

    written := {department:first};
    fill.department := {departments} ->> upper(written collate "C");
    if fill.department is null then
        written := fuel.clean_department({department});
        fill.department := coalesce({departments} ->> written, written);
    end if;

    fill.fuel_type := {fuel_types} ->> rtrim(upper({fuel_type:first} collate "C"));
    if fill.fuel_type is null then
        fill.fuel_type := {fuel_types} ->> fuel.clean_label({fuel_type});
    end if;

    written := {litres:first};
    if length(written) < 11 and translate(written, '0123456789', '') in ('', '.') and written not in ('', '.') then
        fill.litres := written::numeric;
    else
        fill.litres := fuel.read_number({litres});
    end if;

    written := {amount_kes:first};
    if length(written) < 18 and ltrim(written, '0123456789') = '' and written <> '' then
        fill.amount_kes := written::numeric;
    else
        fill.amount_kes := fuel.read_number({amount_kes});
    end if;

    fill.price_per_litre_kes := case when fill.litres > 0 then round(fill.amount_kes / fill.litres, 4) end;

    written := {odometer_km:first};
    if length(written) < 18 and ltrim(written, '0123456789') = '' and written <> '' then
        fill.odometer_km := written::bigint;
    else
        fill.odometer_km := round(fuel.read_number({odometer_km}))::bigint;
    end if;

    written := {filled_at:first};
    if written like '20__-__-__-__-__' and {day} and substr(written, 12, 2) in ({hours}) and substr(written, 15, 2) in ({minutes}) then
        fill.filled_at := (left(written, 10) || ' ' || substr(written, 12, 2) || ':' || substr(written, 15, 2))::timestamp at time zone {zone};
    else
        fill.filled_at := fuel.read_time({filled_at}, {zone});
    end if;

    written := {created_at:first};
    if written like '20__-__-__ __:__:__' and {day} and substr(written, 12, 2) in ({hours}) and substr(written, 15, 2) in ({minutes}) and substr(written, 18, 2) in ({minutes}) then
        fill.source_created_at := (written || '+00')::timestamptz;
    else
        fill.source_created_at := fuel.read_time({created_at}, 'UTC');
    end if;

    -- The time of a fill is what the feed says. If it says nothing, 1970, or a time more than a day after the report (nobody
    -- reports a fill before it happens), it is the time of the report, if that lies between 2015 and a day after its file.
    fill.filled_at_is_assumed := false;
    if fill.filled_at >= {1970} and fill.filled_at < {1971} then
        fill.filled_at := null;
    end if;
    if (fill.filled_at <= fill.source_created_at + interval '1 day') is not true
        and fill.source_created_at >= '2015-01-01Z' and fill.source_created_at <= fill.source_at + interval '1 day'
    then
        fill.filled_at := fill.source_created_at;
        fill.filled_at_is_assumed := true;
    end if;

    fill.source_updated_at := null;
    if coalesce({updated_at:any}, {deleted_at:any}, {is_deleted:any}) is not null then
        fill.source_updated_at := fuel.read_time({updated_at}, 'UTC');
        deletion := fuel.read_time({deleted_at}, 'UTC');
        if deletion is null and lower(btrim({is_deleted:any}, e' \t\n\r')) ~ e'^(?:true|t|yes|y|1(?:\\.0*)?)$' then
            deletion := coalesce(fill.source_updated_at, fill.source_at);
        end if;
    end if;
$body$;
begin
    feed_zone := coalesce((select f.zone from fuel.feed_rule as f), fuel.feed_zone());
    if feed_zone <> fuel.feed_zone() then
        perform now() at time zone feed_zone; -- an error if this server does not know it
        execute format('create or replace function fuel.feed_zone() returns text language sql immutable parallel safe return %L', feed_zone);
    end if;
    body := replace(body, '{zone}', quote_literal(feed_zone));
    body := replace(body, '{1970}', format('%L::timestamptz', to_char(timestamp '1970-01-01' at time zone feed_zone at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')));
    body := replace(body, '{1971}', format('%L::timestamptz', to_char(timestamp '1971-01-01' at time zone feed_zone at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')));

    foreach wanted in array array[
        'car', 'driver', 'department', 'fuel_type', 'litres', 'amount_kes', 'odometer_km', 'filled_at', 'created_at', 'updated_at', 'deleted_at', 'is_deleted'
    ] loop
        select
            format('left(source ->> %L, 2000)', (array_agg(f.alias order by f.rank))[1]),
            format('coalesce(%s)', string_agg(format('left(source ->> %L, 2000)', f.alias), ', ' order by f.rank)),
            format('coalesce(%s)', string_agg(format(
                $$case when jsonb_typeof(source -> %1$L) in ('string', 'number') then nullif(btrim(left(source ->> %1$L, 2000), e' \t\n\r'), '') end$$, f.alias
            ), ', ' order by f.rank))
        into first, any_of, named
        from fuel.source_field as f
        where f.field = wanted
        having count(*) > 0;
        body := replace(body, '{' || wanted || ':first}', coalesce(first, 'null::text'));
        body := replace(body, '{' || wanted || ':any}', coalesce(any_of, 'null::text'));
        body := replace(body, '{' || wanted || '}', coalesce(named, 'null::text'));
    end loop;

    body := replace(body, '{fuel_types}', (
        select format('%L::jsonb', coalesce(jsonb_object_agg(known.spelling, known.canonical), '{}'))
        from (
            select same.spelling, fuel.canon_fuel_type(same.spelling) as canonical
            from fuel.fuel_type_alias as a
            cross join lateral (
                values (upper(a.alias collate "C")), (upper(a.canonical collate "C")), (fuel.clean_label(a.alias)), (fuel.clean_label(a.canonical))
            ) as same (spelling)
            where same.spelling is not null
            group by same.spelling
        ) as known
    ));
    body := replace(body, '{departments}', (
        select format('%L::jsonb', coalesce(jsonb_object_agg(known.spelling, known.canonical), '{}'))
        from (
            select same.spelling, fuel.canon_department(same.spelling) as canonical
            from fuel.department_alias as a
            cross join lateral (values (upper(a.alias collate "C")), (fuel.clean_department(a.alias))) as same (spelling)
            where fuel.clean_department(same.spelling) is not null
            group by same.spelling
        ) as known
    ));

    body := replace(body, '{vehicles}', (
        select format('%L::jsonb', coalesce(jsonb_object_agg(k.plate, k.vehicle) filter (where k.plate <> k.vehicle), '{}'))
        from fuel.known_vehicle as k
    ));

    -- Lists, because a look-up in constants costs a third of a pattern: days of every year, hours, minutes (and seconds).
    body := replace(body, '{day}', $$substr(written, 3, 2) in ({years}) and substr(written, 6, 5) in ({days})$$);
    body := replace(body, '{years}', (select string_agg(quote_literal(lpad(n::text, 2, '0')), ',' order by n) from generate_series(0, 99) as n));
    body := replace(body, '{days}', (select string_agg(quote_literal(to_char(date '2001-01-01' + n, 'MM-DD')), ',' order by n) from generate_series(0, 364) as n));
    body := replace(body, '{hours}', (select string_agg(quote_literal(lpad(n::text, 2, '0')), ',' order by n) from generate_series(0, 23) as n));
    body := replace(body, '{minutes}', (select string_agg(quote_literal(lpad(n::text, 2, '0')), ',' order by n) from generate_series(0, 59) as n));

    if exists (select from pg_proc as p where p.oid = to_regprocedure('fuel.derive_columns()') and position(body in p.prosrc) > 0) then
        return false;
    end if;

    execute format('create or replace function fuel.derive_columns() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as %L', $$
declare
    fill     alias for new;
    source   jsonb;
    written  text;
    deletion timestamptz;
begin$$ || body || $$
    -- A new text that names its deletion is deleted, unless the same statement decides otherwise. Nothing here undoes a
    -- deletion: that is decided by a load or by hand.
    if deletion is not null then
        if tg_op = 'INSERT' then
            fill.deleted_at := coalesce(new.deleted_at, deletion);
        elsif new.raw is distinct from old.raw and new.deleted_at is not distinct from old.deleted_at then
            fill.deleted_at := deletion;
        end if;
    end if;
    return fill;
end
$$);
    execute format('create or replace function fuel.derive(raw jsonb, source_at timestamptz) returns fuel.records language plpgsql stable set search_path = pg_catalog, pg_temp as %L', $$
declare
    fill     fuel.records;
    source   jsonb;
    written  text;
    deletion timestamptz;
begin
    fill.raw := derive.raw;
    fill.source_at := derive.source_at;
$$ || body || $$
    fill.deleted_at := deletion;
    return fill;
end
$$);
    return true;
end
$rebuild$;

do $$ begin perform fuel.rebuild_reader(); end $$;

comment on function fuel.rebuild_reader() is 'Writes fuel.derive_columns() and fuel.derive() from the rule tables; a trigger runs it when those change.';
comment on function fuel.derive(jsonb, timestamptz) is 'The derived columns of a record, from its raw and the time of its version.';

-- So the rule tables and the functions written from them always agree.
create function fuel.rule_tables_changed() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform fuel.rebuild_reader();
    return null;
end
$$;

create trigger rebuild_reader after insert or update or delete or truncate on fuel.feed_rule
for each statement execute function fuel.rule_tables_changed();
create trigger rebuild_reader after insert or update or delete or truncate on fuel.source_field
for each statement execute function fuel.rule_tables_changed();
create trigger rebuild_reader after insert or update or delete or truncate on fuel.fuel_type_alias
for each statement execute function fuel.rule_tables_changed();
create trigger rebuild_reader after insert or update or delete or truncate on fuel.department_alias
for each statement execute function fuel.rule_tables_changed();
create trigger rebuild_reader after insert or update or delete or truncate on fuel.known_vehicle
for each statement execute function fuel.rule_tables_changed();

-- Triggers of one kind run in the order of their names: derive, then forget, then keep.
create trigger derive_columns_of_new before insert on fuel.records
for each row execute function fuel.derive_columns();

-- A derived column written by hand is derived again; bookkeeping alone costs nothing.
create trigger derive_columns_of_changed before update on fuel.records
for each row when (
    (
        old.raw, old.car, old.plate, old.driver, old.department, old.fuel_type, old.litres, old.amount_kes, old.price_per_litre_kes,
        old.odometer_km, old.filled_at, old.source_created_at, old.source_updated_at, old.vehicle, old.filled_at_is_assumed,
        -- A later file may make the time of the report usable.
        old.source_created_at <= old.source_at + interval '1 day'
    ) is distinct from (
        new.raw, new.car, new.plate, new.driver, new.department, new.fuel_type, new.litres, new.amount_kes, new.price_per_litre_kes,
        new.odometer_km, new.filled_at, new.source_created_at, new.source_updated_at, new.vehicle, new.filled_at_is_assumed,
        new.source_created_at <= new.source_at + interval '1 day'
    )
)
execute function fuel.derive_columns();

-- A load brings its own fingerprint, and says so (fuel.brings_fingerprints); it may be the one that the row had, if the row was
-- changed while triggers were off. Anybody else's change leaves the row without one, so that the next load compares it again.
create function fuel.forget_fingerprint() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.fingerprint := null;
    return new;
end
$$;

create trigger forget_fingerprint before update on fuel.records
for each row when (
    new.fingerprint = old.fingerprint
    and (old.raw, old.deleted_at, old.absent_since) is distinct from (new.raw, new.deleted_at, new.absent_since)
    and current_setting('fuel.brings_fingerprints', true) is distinct from 'on'
)
execute function fuel.forget_fingerprint();

-- Every version that is overwritten or removed is kept, with the run that replaced it; no run if it was done by hand.
-- It runs with the owner's rights: nobody else may write history, so nobody can forge it.
create function fuel.keep_version() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into fuel.record_versions (
        id, raw, deleted_at, absent_since, source_key, source_at, change_at, fingerprint, run_id, valid_from, replaced_by_run
    )
    values (
        old.id, old.raw, old.deleted_at, old.absent_since, old.source_key, old.source_at, old.change_at, old.fingerprint, old.run_id,
        old.last_changed_at,
        -- A run that has ended writes nothing more: a change with its id was made by hand.
        case when tg_op = 'UPDATE' and new.run_id is distinct from old.run_id and not exists (
            select from fuel.ingest_runs as r
            where r.run_id = new.run_id and r.status in ('applied', 'refused', 'failed') and r.xmin <> pg_current_xact_id()::xid
        ) then new.run_id end
    );
    return null;
end
$$;

create trigger keep_version_of_changed after update on fuel.records
for each row when ((old.raw, old.deleted_at, old.absent_since) is distinct from (new.raw, new.deleted_at, new.absent_since))
execute function fuel.keep_version();

create trigger keep_version_of_removed after delete on fuel.records
for each row execute function fuel.keep_version();

-- Derives again exactly the rows that the rules now read differently, and says how many. It writes no history: `raw` is the same.
create function fuel.rederive() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    changed bigint;
begin
    perform fuel.rebuild_reader();
    update fuel.records as r
    set
        car = d.car, plate = d.plate, driver = d.driver, department = d.department, fuel_type = d.fuel_type, litres = d.litres,
        amount_kes = d.amount_kes, price_per_litre_kes = d.price_per_litre_kes, odometer_km = d.odometer_km, filled_at = d.filled_at,
        vehicle = d.vehicle, filled_at_is_assumed = d.filled_at_is_assumed,
        source_created_at = d.source_created_at, source_updated_at = d.source_updated_at
    from fuel.records as s
    cross join lateral fuel.derive(s.raw, s.source_at) as d
    where s.id = r.id
    and (
        s.car, s.plate, s.driver, s.department, s.fuel_type, s.litres, s.amount_kes, s.price_per_litre_kes, s.odometer_km, s.filled_at,
        s.vehicle, s.filled_at_is_assumed, s.source_created_at, s.source_updated_at
    ) is distinct from (
        d.car, d.plate, d.driver, d.department, d.fuel_type, d.litres, d.amount_kes, d.price_per_litre_kes, d.odometer_km, d.filled_at,
        d.vehicle, d.filled_at_is_assumed, d.source_created_at, d.source_updated_at
    );
    get diagnostics changed = row_count;
    return changed;
end
$$;

comment on function fuel.rederive() is 'Derives again the rows that the rules now read differently and says how many; run by `fleetfuel migrate` after a change of rules/.';
