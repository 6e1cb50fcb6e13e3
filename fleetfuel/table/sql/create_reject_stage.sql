-- Records set aside by this run, staged for the merge into fuel.rejects.
create temporary table fuel_reject_stage (
    content_hash  uuid not null,
    rule          text not null,
    id            bigint,
    reason        text not null,
    content       text,
    content_bytes bytea,
    source_key    text not null,
    position      bigint not null
) on commit drop
