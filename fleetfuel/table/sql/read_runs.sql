-- The newest lines of the ledger of runs ($1: only of this status, where it is not null; $2: how many).
select run_id, mode, source, source_at, started_at, finished_at, status, exit_code, counts::text as counts, message, version, role
from fuel.ingest_runs
where $1::text is null or status = $1::text
order by finished_at desc, run_id desc
limit $2::bigint
