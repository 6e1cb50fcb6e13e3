-- The runs whose id begins with $1, in full: two are enough to see that it is ambiguous.
select
    run_id, mode, source, source_at, started_at, finished_at, status, exit_code, counts::text as counts, message, version, role,
    summary::text as summary, metadata::text as metadata
from fuel.ingest_runs
where starts_with(run_id, $1::text)
order by run_id
limit 2
