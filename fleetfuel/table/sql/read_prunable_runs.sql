-- Runs that ended before $1, without the last run and the last applied run of each mode, and those a feed stands at.
select run_id
from (
    select
        run_id,
        finished_at,
        row_number() over (partition by mode order by finished_at desc, run_id desc) as newest,
        row_number() over (partition by mode, status order by finished_at desc, run_id desc) as newest_of_status
    from fuel.ingest_runs
) as r
where finished_at < $1
and newest > 1
and newest_of_status > 1
and run_id not in (select run_id from fuel.ingest_state)
