-- The fuel schema: the records, with raw, and the ledgers of every run, file, rejected record and overwritten version.

-- An administrator may have made the schemas. No `if not exists`: that needs the right to create even then.
do $$
begin
    if to_regnamespace('fuel') is null then
        create schema fuel;
    end if;
    if to_regnamespace('reporting') is null then
        create schema reporting;
    end if;
end
$$;

create table fuel.records (
    id                  bigint primary key,
    raw                 jsonb not null,
    car                 text,
    plate               text collate "C",
    vehicle             text collate "C",
    driver              text,
    department          text,
    fuel_type           text,
    litres              numeric,
    amount_kes          numeric,
    price_per_litre_kes numeric,
    odometer_km         bigint,
    filled_at           timestamptz,
    filled_at_is_assumed boolean not null default false,
    source_created_at   timestamptz,
    source_updated_at   timestamptz,
    deleted_at          timestamptz,
    absent_since        timestamptz,
    source_key          text,
    source_at           timestamptz not null default now(),
    change_at           timestamptz,
    fingerprint         uuid,
    run_id              text,
    first_seen_at       timestamptz not null default now(),
    last_changed_at     timestamptz not null default now()
) with (fillfactor = 90);

comment on table fuel.records is 'One row per source record. raw is the record as the feed gave it. A trigger derives the other columns of the source from it, so they cannot be written by hand. The columns from absent_since on are fleetfuel''s own bookkeeping.';
comment on column fuel.records.raw is 'The source record, whole. Holds personal data (sender, raw_message): never grant it to readers of reports.';
comment on column fuel.records.plate is 'The number plate as reported, normalised.';
comment on column fuel.records.vehicle is 'The current plate of the vehicle: the reported one, unless rules/vehicles.toml knows that as another spelling or a former plate.';
comment on column fuel.records.filled_at is 'When the vehicle was filled, as the feed says; the time of the report if the feed gives no usable time, or one more than a day after the report.';
comment on column fuel.records.filled_at_is_assumed is 'Whether filled_at is the time of the report, because the feed gave no usable time of the fill.';
comment on column fuel.records.source_created_at is 'When the source wrote the record down, as it says (created_at).';
comment on column fuel.records.deleted_at is 'When the source said this record is deleted; null while it is live.';
comment on column fuel.records.absent_since is 'File time of the first complete snapshot that no longer held this record; null while it is present.';
comment on column fuel.records.source_at is 'The record''s own updated_at if usable, else the time of the file it came from.';
comment on column fuel.records.change_at is 'File time of the newest change file whose word on this record was taken; null if none was. A snapshot older than that does not change the row.';
comment on column fuel.records.fingerprint is 'XXH3-128 of the record''s text, seeded with the rules it was validated under; null if anything but a load changed raw, deletion or absence, so that the next load compares the row again.';
comment on column fuel.records.run_id is 'The run that wrote this version.';

create table fuel.record_versions (
    version_id       bigint generated always as identity primary key,
    id               bigint not null,
    raw              jsonb not null,
    deleted_at       timestamptz,
    absent_since     timestamptz,
    source_key       text,
    source_at        timestamptz,
    change_at        timestamptz,
    fingerprint      uuid,
    run_id           text,
    valid_from       timestamptz not null,
    replaced_at      timestamptz not null default now(),
    replaced_by_run  text,
    replaced_by_role text not null default session_user
);
create index on fuel.record_versions (id, version_id);
create index on fuel.record_versions (replaced_by_run);

comment on table fuel.record_versions is 'One row per overwritten version of a record, whoever overwrote it.';
comment on column fuel.record_versions.replaced_by_run is 'The run that overwrote this version; null if somebody did it by hand.';

create table fuel.evidence_versions (
    evidence_id     bigint generated always as identity primary key,
    id              bigint not null,
    fingerprint     uuid,
    source_at       timestamptz not null,
    change_at       timestamptz,
    replaced_at     timestamptz not null default now(),
    replaced_by_run text not null
);
create index on fuel.evidence_versions (id, evidence_id);
create index on fuel.evidence_versions (replaced_by_run);

comment on table fuel.evidence_versions is 'One row for each time that newer evidence of a record was noted and its value stayed the same: the evidence before. fuel.records_as_of() needs it.';

create table fuel.history_kept (
    is_row boolean primary key default true check (is_row),
    since  timestamptz not null
);

comment on table fuel.history_kept is 'How far back the history reaches: one row, as soon as something was pruned.';
comment on column fuel.history_kept.since is 'The first instant for which fuel.records_as_of() can answer; versions overwritten before it are pruned.';

create table fuel.ingest_runs (
    run_id       text primary key,
    mode         text not null check (mode in ('snapshot', 'changes', 'file', 'undo')),
    source       text not null,
    source_at    timestamptz,
    started_at   timestamptz not null,
    finished_at  timestamptz not null default clock_timestamp(),
    status       text not null check (status in ('applied', 'refused', 'failed')),
    exit_code    integer not null,
    counts       jsonb not null default '{}',
    summary      jsonb not null default '{}',
    metadata     jsonb not null default '[]',
    message      text,
    rules_digest text,
    version      text not null,
    role         text not null default session_user,
    stamped_at   timestamptz not null default now(),
    plan_run_id  text,
    plan_checksum text,
    marks        jsonb not null default '{}',
    lists        jsonb not null default '[]',
    undone_run   text,
    reopened     jsonb not null default '[]'
);
create index on fuel.ingest_runs (finished_at desc);
create index on fuel.ingest_runs (stamped_at) where status = 'applied';
create unique index on fuel.ingest_runs (plan_run_id) where status = 'applied';

comment on table fuel.ingest_runs is 'One row per run that was allowed to write: applied, refused by a guard, or failed.';
comment on column fuel.ingest_runs.summary is 'The run''s --json object.';
comment on column fuel.ingest_runs.metadata is 'The metadata of each file read, verbatim.';
comment on column fuel.ingest_runs.stamped_at is 'When its transaction began: the rows that it wrote carry this time.';
comment on column fuel.ingest_runs.plan_run_id is 'The run that made the plan: itself, or the dry run whose report was applied. A plan is applied once.';
comment on column fuel.ingest_runs.plan_checksum is 'Checksum of the report that holds the plan; null if none was written.';
comment on column fuel.ingest_runs.marks is 'fuel.ingest_state before the run and after it, by feed.';
comment on column fuel.ingest_runs.lists is 'A hash over the records of each file that it read, without the metadata.';
comment on column fuel.ingest_runs.undone_run is 'The run that it undid; null if mode is not undo.';
comment on column fuel.ingest_runs.reopened is 'The reject_ids that it opened again; empty if mode is not undo.';

create table fuel.undone_lists (
    list_hash    text not null,
    rules_digest text not null,
    reading      text not null check (reading in ('snapshot', 'changes')),
    undone_run   text not null,
    undone_by    text not null,
    held_at      timestamptz not null default now(),
    released_at  timestamptz,
    released_by  text,
    primary key (undone_by, list_hash)
);

comment on table fuel.undone_lists is 'One row per list of records that was applied and undone. It is held, so that the next hour does not apply it again, until it is released.';

create table fuel.ingest_starts (
    run_id     text primary key,
    mode       text not null check (mode in ('snapshot', 'changes', 'file', 'undo')),
    source     text not null,
    started_at timestamptz not null,
    version    text not null,
    role       text not null default session_user
);
create index on fuel.ingest_starts (started_at desc);

comment on table fuel.ingest_starts is 'One row per run that was allowed to write and began. Its end is the row of that run_id in ingest_runs: without one the run is still at work, or was killed.';

create table fuel.ingest_files (
    key          text not null,
    etag         text not null,
    size         bigint not null,
    file_at      timestamptz not null,
    modified_at  timestamptz not null,
    status       text not null check (status in ('applied', 'empty', 'quarantined', 'unread')),
    records      bigint not null default 0,
    counts       jsonb not null default '{}',
    reason       text,
    run_id       text not null,
    processed_at timestamptz not null default now()
);
-- A store may give keys and ETags of any length; an entry of an index has a limit.
create unique index ingest_files_by_version on fuel.ingest_files (left(key, 500), hashtextextended(key, 0), left(etag, 100), hashtextextended(etag, 0), modified_at);
create index on fuel.ingest_files (file_at);

comment on table fuel.ingest_files is 'One row per version of a file (its ETag and when it was written) that was read, or that could not be read and is remembered.';
comment on column fuel.ingest_files.file_at is 'The file time, when the file was true: the export time in its metadata, else the instant in its key, else its modification time; never later than its modification time.';
comment on column fuel.ingest_files.status is 'applied; empty: nothing but markers; quarantined: skipped as bad, until it changes; unread: skipped because the store failed, tried again by each run.';

create table fuel.ingest_state (
    feed         text primary key check (feed in ('snapshot', 'changes')),
    watermark    timestamptz not null,
    key          text,
    etag         text,
    modified_at  timestamptz,
    rules_digest text,
    proof        text,
    run_id       text not null,
    updated_at   timestamptz not null default now()
);

comment on table fuel.ingest_state is 'Where each feed stands: one row for snapshot, one for changes.';
comment on column fuel.ingest_state.watermark is 'snapshot: the mark, the file time of the last applied snapshot, which spoke of every row. changes: the watermark, the time in the key of the newest change file applied.';
comment on column fuel.ingest_state.proof is 'snapshot: an aggregate over fuel.records as the run left it. While it is the same, nobody has touched the table since.';

create table fuel.rejects (
    reject_id      bigint generated always as identity primary key,
    content_hash   uuid not null,
    rule           text not null,
    id             bigint,
    reason         text not null,
    content        text,
    content_bytes  bytea,
    source_key     text not null,
    position       bigint not null,
    first_run_id   text not null,
    last_run_id    text not null,
    first_seen_at  timestamptz not null default now(),
    last_seen_at   timestamptz not null default now(),
    times_seen     bigint not null default 1,
    resolved_at    timestamptz,
    resolved_by    text,
    unique (content_hash, rule)
);
create index on fuel.rejects (id) where resolved_at is null;

comment on table fuel.rejects is 'One row per rejected record, whole. If the same text is rejected again by the same rule, it is the same row, with times_seen; source_key and position are those where it was seen last.';
comment on column fuel.rejects.content is 'The record''s own text; content_bytes if it is not text that PostgreSQL can hold.';

-- The tables of rules/: filled by `fleetfuel migrate`, never by hand.
create table fuel.rules_state (
    file      text primary key,
    digest    text not null,
    synced_at timestamptz not null default now()
);

comment on table fuel.rules_state is 'One row per file of rules/: the digest of what `fleetfuel migrate` read last.';

create table fuel.feed_rule (
    is_only boolean primary key default true check (is_only),
    zone    text not null
);

comment on table fuel.feed_rule is 'What the rules say of the feed as a whole: one row.';

create table fuel.source_field (
    field text not null,
    alias text primary key,
    rank  integer not null,
    unique (field, rank)
);

comment on table fuel.source_field is 'The names under which the feed gives a field (rules/fields.toml); the lowest rank that has a value is taken.';

create table fuel.fuel_type_alias (
    alias     text primary key,
    canonical text not null
);

comment on table fuel.fuel_type_alias is 'One row per spelling of a fuel, as the normaliser leaves it (rules/fuel_types.toml).';

create table fuel.department_alias (
    alias     text primary key,
    canonical text not null
);

comment on table fuel.department_alias is 'One row per spelling of a department, as the normaliser leaves it (rules/departments.toml).';

create table fuel.pump_prices (
    fuel_type           text not null,
    valid_from          date not null,
    valid_to            date,
    price_per_litre_kes numeric not null check (price_per_litre_kes > 0),
    primary key (fuel_type, valid_from)
);

comment on table fuel.pump_prices is 'The official cap on the price of a fuel, KES a litre, by cycle (rules/pump_prices.toml); both days of a cycle count.';

create table fuel.vehicle_class (
    class              text primary key,
    plate_pattern      text check (plate_pattern is null or ('' ~ plate_pattern) is not null), -- an error for a pattern that this server cannot read
    rank               integer not null unique,
    litres_min         numeric not null,
    litres_max         numeric not null,
    km_per_litre_min   numeric not null,
    km_per_litre_max   numeric not null
);

comment on table fuel.vehicle_class is 'What is believable for a class of vehicles: litres a fill, km a litre (rules/vehicle_classes.toml). A vehicle has the first class by rank whose pattern fits its plate, unless rules/vehicles.toml names one.';

create table fuel.known_vehicle (
    plate        text collate "C" primary key,
    vehicle      text collate "C" not null,
    class        text,
    tank_litres  numeric check (tank_litres > 0),
    fuel_type    text,
    has_odometer boolean not null
);

comment on table fuel.known_vehicle is 'One row per plate or spelling of a vehicle in rules/vehicles.toml.';

create table fuel.check_limit (
    code     text not null,
    name     text not null,
    value    numeric not null,
    severity text,
    primary key (code, name)
);

comment on table fuel.check_limit is 'The numbers and severities of the checks (rules/anomalies.toml), by code and name.';

-- Makes a table of rules equal to the rules: `wanted` is a JSON array of its rows. A row that is right already is not touched.
create function fuel.sync_rules(rules_table regclass, wanted jsonb, out inserted bigint, out updated bigint, out deleted bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    key_columns constant text := (
        select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_index as i
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
        where i.indrelid = rules_table and i.indisprimary
    );
begin
    execute format($sync$
        with wanted as (
            select * from jsonb_populate_recordset(null::%1$s, $1)
        ),
        gone as (
            delete from %1$s
            where (%2$s) in (select %2$s from (select * from %1$s except select * from wanted) as stale)
            returning %2$s
        ),
        -- Counting `gone` makes the insert wait for the delete: a changed row leaves before it comes back.
        written as (
            insert into %1$s
            select * from (select * from wanted except select * from %1$s) as fresh
            where (select count(*) from gone) >= 0
            returning %2$s
        )
        select
            count(*) filter (where gone is null),
            count(*) filter (where gone is not null and written is not null),
            count(*) filter (where written is null)
        from gone
        full join written using (%2$s)
    $sync$, rules_table, key_columns) using wanted into inserted, updated, deleted;
end
$$;

comment on function fuel.sync_rules(regclass, jsonb) is 'Makes a table of rules equal to `wanted`; returns how many rows were new, had other values, or were no longer in the rules.';

-- How many live rows there are (`rows`), and how many of them have each of these columns.
create function fuel.column_shares(columns text[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    counted jsonb;
begin
    execute format(
        'select jsonb_build_object(%s) from fuel.records where deleted_at is null and absent_since is null',
        (select '''rows'', count(*)' || string_agg(format(', %L, count(%I)', name, name), '') from unnest(columns) as name)
    ) into counted;
    return counted;
end
$$;

comment on function fuel.column_shares(text[]) is 'How many live rows have each of these columns: so it is noticed if the feed loses one.';
