-- The --json object of the last run that was applied, null before the first; and whether any stored facts are stale.
select
    (
        select summary::text
        from fuel.ingest_runs
        where status = 'applied'
        order by finished_at desc
        limit 1
    ) as summary,
    exists (select from fuel.stale_plates) as has_stale_facts
