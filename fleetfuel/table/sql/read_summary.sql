-- The summary of one applied run, as JSON text.
select summary::text as summary from fuel.ingest_runs where run_id = $1 and status = 'applied'
