-- Remove these runs ($1: JSON array of run ids).
with gone as (
    delete from fuel.ingest_runs
    where run_id in (select jsonb_array_elements_text($1::text::jsonb))
    returning 1
)
select count(*) as rows from gone
