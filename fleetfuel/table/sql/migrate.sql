-- Migrations, rules into their tables, and what follows from them.

-- name: has_migration_ledger
-- Whether the ledger of migrations exists: before the first migration it does not.
select exists (
    select from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'fuel' and c.relname = 'schema_migrations'
) as present;

-- name: create_migration_ledger
-- The ledger of migrations: it has to exist before the first migration, so the runner makes it.
-- If several run at once, one makes it; the others wait here for its commit, and find it made.
do $$
begin
    if to_regnamespace('fuel') is null then
        create schema fuel;
    end if;
    create table if not exists fuel.schema_migrations (
        file         text primary key,
        checksum     text not null,
        applied_at   timestamptz not null default clock_timestamp(),
        milliseconds bigint not null
    );
    -- Held by whoever writes in `fuel`, in share row exclusive mode, for a transaction. It stays empty, so that no vacuum locks it.
    create table if not exists fuel.run_lock ();
exception when unique_violation or duplicate_schema or duplicate_table then
    null;
end
$$;

comment on table fuel.schema_migrations is 'The migrations applied, each with the SHA-256 of its text: an applied file is never edited.';

comment on table fuel.run_lock is 'One run at a time: an import, migrate or prune holds a lock on this table while it writes.';

-- name: read_migration_ledger
-- The migrations applied, in their order.
select file, checksum, applied_at, milliseconds
from fuel.schema_migrations
order by file collate "C";

-- name: read_migration_needs
-- What this login lacks to migrate, and for each the statement with which an administrator grants it.
with schemas (schema) as (
    values ('fuel'), ('reporting')
),
found as (
    select s.schema, n.oid, n.nspowner from schemas as s left join pg_namespace as n on n.nspname = s.schema
)
select
    'create schema ' || string_agg(f.schema, ', ' order by f.schema) as lacking,
    format('grant create on database %I to %I', current_database(), current_user) as cure
from found as f
where f.oid is null and not has_database_privilege(current_database(), 'create')
having count(*) > 0
union all
select
    'create in schema ' || f.schema,
    -- The first migration wants a schema fuel that nobody else could replace.
    case
        when f.schema = 'fuel' and not exists (select from pg_class as c where c.relnamespace = f.oid and c.relname = 'schema_migrations')
            then format('alter schema fuel owner to %I', current_user)
        else format('grant usage, create on schema %I to %I', f.schema, current_user)
    end
from found as f
where f.oid is not null and not (has_schema_privilege(f.oid, 'usage') and has_schema_privilege(f.oid, 'create'))
union all
select distinct
    format('alter what %s owns in schema %s', pg_get_userbyid(c.relowner), f.schema),
    format('grant %I to %I', pg_get_userbyid(c.relowner), current_user)
from found as f
join pg_class as c on c.relnamespace = f.oid
where
    not pg_has_role(c.relowner, 'usage')
    and (
        f.schema = 'fuel'
        or c.relname in ('v_fuel_fills', 'v_fuel_efficiency', 'v_fuel_anomalies', 'v_fuel_monthly', 'v_ingest_health', 'v_ingest_runs')
    );

-- name: record_migration
-- One line in the ledger, in the transaction of the migration itself.
insert into fuel.schema_migrations (file, checksum, milliseconds)
values ($1, $2, $3)
returning file, checksum, applied_at, milliseconds;

-- name: sync_rules
-- Make a table of rules ($1) equal to the rules ($2: JSON array of rows); how many rows changed.
select inserted, updated, deleted from fuel.sync_rules($1::text::regclass, $2::text::jsonb);

-- name: record_rules_state
-- Remember what was synced ($1: JSON object, file -> digest); says which files had another digest before.
with wanted as (
    select file, digest from jsonb_each_text($1::text::jsonb) as each (file, digest)
),
gone as (
    delete from fuel.rules_state stored
    where not exists (select from wanted where wanted.file = stored.file)
    returning file
),
written as (
    insert into fuel.rules_state as stored (file, digest)
    select file, digest from wanted
    on conflict (file) do update set digest = excluded.digest, synced_at = now()
    where stored.digest is distinct from excluded.digest
    returning file
)
select file from gone
union all
select file from written;

-- name: has_function
-- Whether a function of this signature exists: migrations that bring it may not be applied yet.
select to_regprocedure($1) is not null as present;

-- name: call_rebuild_reader
-- Make anew the function that derives columns from `raw`, with the field names in fuel.source_field.
select fuel.rebuild_reader()::text as said;

-- name: call_rederive
-- Derive the columns of the stored records again; says how many records changed.
select fuel.rederive()::text as said;

-- name: call_grant_rights
-- Grant what the roles of this database need; says what was skipped.
select granted::text as said from fuel.grant_rights() as granted;

-- name: refresh_fill_facts
-- Compute stored facts of stale vehicles anew, until about so many ($1) fills are done; what was done and what is left.
select vehicles, fills, vehicles_left from fuel.refresh_fill_facts($1);

-- name: analyze_fill_facts
-- Let the planner know how large the stored facts are now.
analyze fuel.fill_facts, fuel.equal_readings, fuel.stale_vehicles;

-- name: read_schema_owner
-- Who owns the schema fuel, if it exists, how many objects it holds, and whether another run has made the ledger meanwhile.
select
    owner.rolname::text as owner,
    owner.rolsuper as is_superuser,
    n.nspowner = current_user::regrole or pg_has_role(n.nspowner, 'usage') as is_ours,
    (select count(*) from pg_class as c where c.relnamespace = n.oid)
        + (select count(*) from pg_proc as p where p.pronamespace = n.oid)
        + (select count(*) from pg_type as t where t.typnamespace = n.oid and t.typrelid = 0 and t.typelem = 0) as objects,
    exists (select from pg_class as c where c.relnamespace = n.oid and c.relname = 'schema_migrations') as has_ledger
from pg_namespace as n
join pg_roles as owner on owner.oid = n.nspowner
where n.nspname = 'fuel';

-- name: restore_objects
-- Make again what migrations made and is missing; says what it was.
select fuel.restore_objects() as said;

-- name: remember_objects
-- Remember what migrations made besides tables ($1: names of the views of reports that are ours).
select fuel.remember_objects($1::text::text[])::text as done;
