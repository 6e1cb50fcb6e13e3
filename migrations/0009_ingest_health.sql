-- How the imports are doing, for a dashboard: the last run of each mode, how long ago, and what it counted.

create view reporting.v_ingest_health as
select
    last.mode,
    last.status,
    last.run_id,
    last.finished_at,
    now() - last.finished_at as age,
    extract(epoch from now() - last.finished_at)::bigint as age_seconds,
    last.source_at,
    applied.finished_at as last_applied_at,
    extract(epoch from now() - applied.finished_at)::bigint as last_applied_age_seconds,
    (last.counts ->> 'records')::bigint as records,
    (last.counts ->> 'inserts')::bigint as inserts,
    (last.counts ->> 'updates')::bigint as updates,
    (last.counts ->> 'soft_deletes')::bigint as soft_deletes,
    (last.counts ->> 'restores')::bigint as restores,
    (last.counts ->> 'unchanged')::bigint as unchanged,
    (last.counts ->> 'stale')::bigint as stale,
    (last.counts ->> 'rejected')::bigint as rejected,
    (last.counts ->> 'warned')::bigint as warned,
    (select count(*) from fuel.rejects as r where r.resolved_at is null) as open_rejects,
    last.message
from (select distinct on (r.mode) r.* from fuel.ingest_runs as r order by r.mode, r.finished_at desc, r.run_id desc) as last
left join (select r.mode, max(r.finished_at) as finished_at from fuel.ingest_runs as r where r.status = 'applied' group by r.mode) as applied
    on applied.mode = last.mode;

comment on view reporting.v_ingest_health is 'The last run of each mode: when, with what result, and what it counted. open_rejects are records still set aside, whichever run did it.';

do $$ begin perform fuel.grant_rights(); end $$;
