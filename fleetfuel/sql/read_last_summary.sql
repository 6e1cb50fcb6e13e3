-- The --json object of the last run that was applied.
select summary::text as summary
from fuel.ingest_runs
where status = 'applied'
order by finished_at desc
limit 1
