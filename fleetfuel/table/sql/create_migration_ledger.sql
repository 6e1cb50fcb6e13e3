-- The ledger of migrations: it precedes the first migration, so the runner makes it.
create schema if not exists fuel;

create table if not exists fuel.schema_migrations (
    file         text primary key,
    checksum     text not null,
    applied_at   timestamptz not null default clock_timestamp(),
    milliseconds bigint not null
);

comment on table fuel.schema_migrations is 'The migrations applied, each with the SHA-256 of its text: an applied file is never edited.';
