-- The last applied run of each mode.
select distinct on (mode) mode, run_id, finished_at
from fuel.ingest_runs
where status = 'applied'
order by mode, finished_at desc, run_id desc
