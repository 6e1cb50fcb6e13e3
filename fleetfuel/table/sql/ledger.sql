-- What the ledger holds, for people to look at.

-- name: read_runs
-- The newest lines of the ledger of runs ($1: only those of this status, if it is not null; $2: how many). A run that began
-- and did not end is at work if its session still exists.
select
    run_id, mode, source, source_at, started_at, finished_at, status, exit_code, counts::text as counts, message, version, role,
    plan_run_id, plan_checksum, undone_run, false as is_at_work
from fuel.ingest_runs
where $1::text is null or status = $1::text
union all
select
    s.run_id, s.mode, s.source, null, s.started_at, null, 'began', null, '{}', null, s.version, s.role, null, null, null,
    exists (select from pg_stat_activity as a where a.application_name = 'fleetfuel ' || s.run_id)
from fuel.ingest_starts as s
where ($1::text is null or $1::text = 'began')
and not exists (select from fuel.ingest_runs as r where r.run_id = s.run_id)
order by finished_at desc nulls first, started_at desc, run_id desc
limit $2::bigint;

-- name: read_run
-- The runs whose id begins with $1, in full: two are enough to see that it is ambiguous.
select
    run_id, mode, source, source_at, started_at, finished_at, status, exit_code, counts::text as counts, message, version, role,
    plan_run_id, plan_checksum, undone_run, false as is_at_work, summary::text as summary, metadata::text as metadata
from fuel.ingest_runs
where starts_with(run_id, $1::text) and $1::text <> ''
union all
select
    s.run_id, s.mode, s.source, null, s.started_at, null, 'began', null, '{}', null, s.version, s.role, null, null, null,
    exists (select from pg_stat_activity as a where a.application_name = 'fleetfuel ' || s.run_id), '{}', '[]'
from fuel.ingest_starts as s
where starts_with(s.run_id, $1::text) and $1::text <> ''
and not exists (select from fuel.ingest_runs as r where r.run_id = s.run_id)
order by run_id
limit 2;

-- name: read_run_modes
-- Mode and role of runs ($1: JSON array of run ids), and the run that one undid.
select run_id, mode, role, undone_run
from fuel.ingest_runs
where run_id in (select jsonb_array_elements_text($1::text::jsonb));

-- name: read_rejects
-- Rejected records, the last seen first ($1: only those that nobody repaired; $2: of this id, if it is not null; $3: how many).
select
    reject_id, rule, id, reason, content, content_bytes is not null as is_binary, source_key, position, first_run_id, last_run_id,
    first_seen_at, last_seen_at, times_seen, resolved_at, resolved_by, count(*) over () as total
from fuel.rejects
where (not $1::boolean or resolved_at is null)
and ($2::bigint is null or id = $2::bigint)
order by last_seen_at desc, source_key, position, reject_id
limit $3::bigint;

-- name: read_record
-- One record as it is now.
select
    raw::text as raw, deleted_at, absent_since, source_key, source_at, run_id, last_changed_at as valid_from, first_seen_at,
    plate, filled_at
from fuel.records
where id = $1::bigint;

-- name: read_versions
-- The overwritten versions of one record, oldest first.
select
    raw::text as raw, deleted_at, absent_since, source_key, source_at, run_id, valid_from, replaced_at, replaced_by_run,
    replaced_by_role
from fuel.record_versions
where id = $1::bigint
order by version_id;
