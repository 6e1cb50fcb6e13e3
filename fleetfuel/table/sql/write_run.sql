-- One line of the ledger of runs.
insert into fuel.ingest_runs (
    run_id, mode, source, source_at, started_at, status, exit_code, counts, summary, metadata, message, rules_digest, version
)
select run_id, mode, source, source_at, started_at, status, exit_code, counts, summary, metadata, message, rules_digest, version
from jsonb_to_record($1::text::jsonb) as r (
    run_id text, mode text, source text, source_at timestamptz, started_at timestamptz, status text, exit_code integer,
    counts jsonb, summary jsonb, metadata jsonb, message text, rules_digest text, version text
)
