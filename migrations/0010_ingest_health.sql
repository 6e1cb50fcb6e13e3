-- The health of the imports, for a dashboard: the last run of each mode, how long ago, what it counted, how old the feed is.

-- A dashboard asks often, and the ledger grows for years: with these, the last run of each mode is found without a sort.
create index on fuel.ingest_runs (mode, finished_at desc, run_id desc);
create index on fuel.ingest_runs (mode, finished_at desc) where status = 'applied';

create view reporting.v_ingest_health as
with recursive modes (mode) as (
    (select r.mode from fuel.ingest_runs as r order by r.mode limit 1)
    union all
    select (select r.mode from fuel.ingest_runs as r where r.mode > m.mode order by r.mode limit 1) from modes as m where m.mode is not null
)
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
    last.message,
    extract(epoch from now() - source.written_at)::bigint as source_age_seconds,
    last.exit_code
from modes as m
cross join lateral (
    select r.* from fuel.ingest_runs as r where r.mode = m.mode order by r.finished_at desc, r.run_id desc limit 1
) as last
left join lateral (
    select r.finished_at from fuel.ingest_runs as r where r.mode = m.mode and r.status = 'applied' order by r.finished_at desc limit 1
) as applied on true
left join lateral (
    select greatest(s.watermark, s.modified_at) as written_at from fuel.ingest_state as s where s.feed = m.mode
) as source on true;

comment on view reporting.v_ingest_health is 'The last run of each mode: when, with what result, and what it counted. open_rejects are rejected records that nobody has repaired, whichever run rejected them. source_age_seconds is how long ago the export wrote what was applied last: it grows if the export stalls, though every run is applied.';

comment on column reporting.v_ingest_health.mode is 'snapshot, changes, file or undo; no row before its first run.';
comment on column reporting.v_ingest_health.status is 'Of the last run: applied, refused (by a guard) or failed.';
comment on column reporting.v_ingest_health.run_id is 'The last run that could write.';
comment on column reporting.v_ingest_health.finished_at is 'When the last run ended.';
comment on column reporting.v_ingest_health.age is 'How long ago the last run ended.';
comment on column reporting.v_ingest_health.age_seconds is 'The same in seconds, for a limit on a dashboard.';
comment on column reporting.v_ingest_health.source_at is 'The file time of the newest file that the last run read: when it was true.';
comment on column reporting.v_ingest_health.last_applied_at is 'When a run was last applied; null if none was.';
comment on column reporting.v_ingest_health.last_applied_age_seconds is 'How long ago that was, in seconds.';
comment on column reporting.v_ingest_health.records is 'Records that the last run read.';
comment on column reporting.v_ingest_health.inserts is 'Records that were new.';
comment on column reporting.v_ingest_health.updates is 'Records that changed.';
comment on column reporting.v_ingest_health.soft_deletes is 'Records that were soft-deleted.';
comment on column reporting.v_ingest_health.restores is 'Records that came back.';
comment on column reporting.v_ingest_health.unchanged is 'Records that are as they were.';
comment on column reporting.v_ingest_health.stale is 'Records that were not applied because what the table holds is newer.';
comment on column reporting.v_ingest_health.rejected is 'Records that were not loaded.';
comment on column reporting.v_ingest_health.warned is 'Records that were loaded and flagged.';
comment on column reporting.v_ingest_health.open_rejects is 'Rejected records that nobody has repaired, whichever run rejected them.';
comment on column reporting.v_ingest_health.message is 'Why the last run was refused or failed; null if it was applied.';
comment on column reporting.v_ingest_health.source_age_seconds is 'How long ago the export wrote what was applied last, in seconds: it grows if the export stalls, though every run is applied.';
comment on column reporting.v_ingest_health.exit_code is 'The exit code of the last run; 0 is success.';

-- Every run that could write, for a dashboard that shows them over time.
create view reporting.v_ingest_runs as
select
    r.run_id,
    r.mode,
    r.status,
    r.exit_code,
    r.started_at,
    r.finished_at,
    round(extract(epoch from r.finished_at - r.started_at)::numeric, 3) as seconds,
    r.source_at,
    (r.counts ->> 'records')::bigint as records,
    (r.counts ->> 'inserts')::bigint as inserts,
    (r.counts ->> 'updates')::bigint as updates,
    (r.counts ->> 'soft_deletes')::bigint as soft_deletes,
    (r.counts ->> 'restores')::bigint as restores,
    (r.counts ->> 'rejected')::bigint as rejected,
    (r.counts ->> 'warned')::bigint as warned,
    r.message
from fuel.ingest_runs as r;

comment on view reporting.v_ingest_runs is 'Runs that could write, one row each: applied, refused or failed, when, and what they counted. Dry runs are not among them.';

comment on column reporting.v_ingest_runs.run_id is 'The id of the run: when it started, and six random characters.';
comment on column reporting.v_ingest_runs.mode is 'snapshot, changes, file or undo.';
comment on column reporting.v_ingest_runs.status is 'applied, refused (by a guard) or failed.';
comment on column reporting.v_ingest_runs.exit_code is 'Its exit code; 0 is success.';
comment on column reporting.v_ingest_runs.started_at is 'When the run started.';
comment on column reporting.v_ingest_runs.finished_at is 'When it ended.';
comment on column reporting.v_ingest_runs.seconds is 'How long it took, in seconds.';
comment on column reporting.v_ingest_runs.source_at is 'The file time of the newest file that it read: when it was true.';
comment on column reporting.v_ingest_runs.records is 'Records it read.';
comment on column reporting.v_ingest_runs.inserts is 'Records that were new.';
comment on column reporting.v_ingest_runs.updates is 'Records that changed.';
comment on column reporting.v_ingest_runs.soft_deletes is 'Records that were soft-deleted.';
comment on column reporting.v_ingest_runs.restores is 'Records that came back.';
comment on column reporting.v_ingest_runs.rejected is 'Records that were not loaded.';
comment on column reporting.v_ingest_runs.warned is 'Records that were loaded and flagged.';
comment on column reporting.v_ingest_runs.message is 'Why it was refused or failed; null if it was applied.';

do $$ begin perform fuel.grant_rights(); end $$;
