-- What is old, and its removal.

-- name: count_prunable
-- How many versions were overwritten before $1, and how many rejects were resolved before it, or not seen since. (A reject
-- of the last snapshot's file stays: if the file has not changed since, it still holds the record.)
select
    (select count(*) from fuel.record_versions where replaced_at < $1) as versions,
    (select count(*) from fuel.rejects where resolved_at < $1
        or (resolved_at is null and last_seen_at < $1 and source_key not in (
            select s.key from fuel.ingest_state as s where s.feed = 'snapshot' and s.key is not null
        ))) as rejects;

-- name: read_prunable_runs
-- Runs that ended before $1. Kept are the last run of each mode and of each status in it, and those that set a mark.
select run_id
from (
    select
        run_id,
        finished_at,
        row_number() over (partition by mode order by finished_at desc, run_id desc) as newest,
        row_number() over (partition by mode, status order by finished_at desc, run_id desc) as newest_of_status
    from fuel.ingest_runs
) as r
where finished_at < $1
and newest > 1
and newest_of_status > 1
and run_id not in (select run_id from fuel.ingest_state);

-- name: read_prunable_files
-- Versions of files that were read before $1; the caller leaves out those that `import --changes` still has to know.
select key, etag, modified_at
from fuel.ingest_files
where processed_at < $1;

-- name: prune_versions
-- Remove the versions, and the evidence, that were overwritten before $1: --as-of and undo cannot go back further than that.
with gone as (
    delete from fuel.record_versions
    where replaced_at < $1
    returning 1
),
forgotten as (
    delete from fuel.evidence_versions
    where replaced_at < $1
),
kept as (
    insert into fuel.history_kept as h (since) values ($1)
    on conflict (is_row) do update set since = greatest(h.since, excluded.since)
)
select count(*) as rows from gone;

-- name: prune_rejects
-- Remove the rejected records that were resolved before $1, or not seen since, as `count_prunable` counts them.
with gone as (
    delete from fuel.rejects
    where resolved_at < $1
    or (resolved_at is null and last_seen_at < $1 and source_key not in (
        select s.key from fuel.ingest_state as s where s.feed = 'snapshot' and s.key is not null
    ))
    returning 1
)
select count(*) as rows from gone;

-- name: prune_runs
-- Remove these runs ($1: JSON array of run ids), and the lines that they began.
with gone as (
    delete from fuel.ingest_runs
    where run_id in (select jsonb_array_elements_text($1::text::jsonb))
    returning run_id
),
begun as (
    delete from fuel.ingest_starts
    where run_id in (select jsonb_array_elements_text($1::text::jsonb))
)
select count(*) as rows from gone;

-- name: prune_files
-- Forget these versions of files ($1: JSON array of objects with key, etag and modified_at).
with gone as (
    delete from fuel.ingest_files
    where (key, etag, modified_at) in (
        select key, etag, modified_at
        from jsonb_to_recordset($1::text::jsonb) as f (key text, etag text, modified_at timestamptz)
    )
    returning 1
)
select count(*) as rows from gone;
