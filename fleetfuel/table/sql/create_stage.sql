-- The rows a plan writes, staged for one merge; gone with the transaction.
create temporary table fuel_stage (
    action       text not null,
    id           bigint not null,
    raw          jsonb,
    fingerprint  uuid,
    source_key   text not null,
    source_at    timestamptz not null,
    deleted_at   timestamptz,
    absent_since timestamptz
) on commit drop
