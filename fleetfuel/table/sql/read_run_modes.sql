-- Mode and role of runs ($1: JSON array of run ids).
select run_id, mode, role
from fuel.ingest_runs
where run_id in (select jsonb_array_elements_text($1::text::jsonb))
