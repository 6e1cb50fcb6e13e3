-- Whether the ledger has a run that was applied.
select exists (select from fuel.ingest_runs where run_id = $1 and status = 'applied') as present
