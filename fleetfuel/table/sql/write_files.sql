-- The files of a run, one row a version of a file (a file may be named twice); read again, it says what came of it last.
insert into fuel.ingest_files (key, etag, size, file_at, modified_at, status, records, counts, reason, run_id)
select distinct on (key, etag)
    key, etag, size, file_at, modified_at, status, records, coalesce(counts, '{}'), reason, run_id
from jsonb_to_recordset($1::text::jsonb) as f (
    key text, etag text, size bigint, file_at timestamptz, modified_at timestamptz, status text, records bigint,
    counts jsonb, reason text, run_id text
)
order by key, etag
on conflict (key, etag) do update
set size = excluded.size,
    file_at = excluded.file_at,
    modified_at = excluded.modified_at,
    status = excluded.status,
    records = excluded.records,
    counts = excluded.counts,
    reason = excluded.reason,
    run_id = excluded.run_id,
    processed_at = now()
