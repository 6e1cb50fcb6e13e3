-- READER 2: the table as it is now or was then, and what earlier runs left for the next.

-- name: read_marks
-- Where each feed stands, and now(); one row a feed, even if nothing of it was applied.
select feeds.feed, s.watermark, s.key, s.etag, s.modified_at, s.rules_digest, s.proof, s.run_id, now() as asked_at
from (values ('snapshot'), ('changes')) as feeds (feed)
left join fuel.ingest_state as s on s.feed = feeds.feed;

-- name: read_rows
-- Every row's id and fingerprint: what the decision needs to know of a row that did not change. No parameters, so it
-- streams. A time in the future comes from a wrong clock and counts as none.
select
    id,
    fingerprint,
    case when change_at <= now() then change_at end as change_at,
    deleted_at is null and absent_since is null as is_live,
    absent_since is null as is_present
from fuel.records;

-- name: read_open_rejects
-- Rejected records that nobody has repaired yet.
select reject_id, id, rule, source_key from fuel.rejects where resolved_at is null;

-- name: read_details
-- The rows with the given ids in full, to compare records with. `own_at` is the time that the version itself names, if it was
-- believed. A time in the future comes from a wrong clock and counts as none. `seen` differs as soon as the row changes. By
-- id, so that a report does not depend on where rows lie in the table.
select
    id,
    raw::text as raw,
    fingerprint,
    deleted_at,
    absent_since,
    source_at,
    case when source_at = source_updated_at and source_at <= now() then source_at end as own_at,
    case when change_at <= now() then change_at end as change_at,
    plate,
    filled_at,
    hash_record_extended(row(raw, deleted_at, absent_since, source_at, change_at, fingerprint), 0) as seen
from fuel.records
where id = any ($1::text::bigint[])
order by id;

-- name: read_column_shares
-- How many live rows there are, and how many of them have each column ($1): so it is seen if a feed lost a column.
select fuel.column_shares($1::text::text[])::text as counted;

-- name: read_unknown_spellings
-- Which of the given spellings the database's normalisers do not know. $1: {"fuel_type": […], "department": […]}.
select 'fuel_type' as field, spelling
from jsonb_array_elements_text($1::text::jsonb -> 'fuel_type') as spelling
where fuel.canon_fuel_type(spelling) is null
union all
select 'department' as field, spelling
from jsonb_array_elements_text($1::text::jsonb -> 'department') as spelling
where not exists (select from fuel.department_alias as a where a.canonical = fuel.canon_department(spelling));

-- name: read_files
-- The version of each change file that was looked at last.
select distinct on (key) key, etag, date_trunc('second', modified_at) as modified_at, status, file_at
from fuel.ingest_files
order by key, processed_at desc, modified_at desc;

-- name: read_proof
-- An aggregate over the table that every load changes, and every edit by hand, because that drops a fingerprint.
select concat_ws(
    ':', count(*), count(fingerprint), count(deleted_at), count(absent_since),
    coalesce(bit_xor(uuid_hash_extended(fingerprint, id)), 0)
) as proof
from fuel.records;

-- name: read_summary
-- The summary of one applied run, as JSON text.
select summary::text as summary from fuel.ingest_runs where run_id = $1 and status = 'applied';

-- name: read_last_summary
-- The --json object of the last run that was applied, null before the first; and whether any stored facts are stale.
select
    (
        select summary::text
        from fuel.ingest_runs
        where status = 'applied'
        order by finished_at desc
        limit 1
    ) as summary,
    exists (select from fuel.stale_vehicles) as has_stale_facts;

-- name: read_rules_state
-- The rules that `migrate` proved and synced: file and digest.
select file, digest from fuel.rules_state;

-- name: read_rows_as_of
-- Every row as it was ($1: when), like `read_rows`.
select
    id,
    fingerprint,
    case when change_at <= $1 then change_at end as change_at,
    deleted_at is null and absent_since is null as is_live,
    absent_since is null as is_present
from fuel.records_as_of($1);

-- name: read_details_as_of
-- The rows with the given ids ($2) in full, as they were ($1: when), like `read_details`.
select
    id,
    raw::text as raw,
    fingerprint,
    deleted_at,
    absent_since,
    source_at,
    case when source_at = source_updated_at and source_at <= $1 then source_at end as own_at,
    case when change_at <= $1 then change_at end as change_at,
    plate,
    filled_at,
    null::bigint as seen
from fuel.records_as_of($1, $2::text::bigint[])
order by id;

-- name: read_column_shares_as_of
-- How many rows were live then ($2: when), and how many of them had each column ($1).
with live as materialized (
    select to_jsonb(r) as held
    from fuel.records_as_of($2) as r
    where r.deleted_at is null and r.absent_since is null
)
select (
    jsonb_build_object('rows', (select count(*) from live))
    || (
        select jsonb_object_agg(name, (select count(*) from live where held ->> name is not null))
        from unnest($1::text::text[]) as name
    )
)::text as counted;

-- name: read_open_rejects_as_of
-- Rejected records that nobody had repaired then ($1: when).
select reject_id, id, rule, source_key
from fuel.rejects
where first_seen_at <= $1 and (resolved_at is null or resolved_at > $1);

-- name: read_marks_as_of
-- Where each feed stood then ($1: when), as JSON: what the next run found. No row if no run came after it: then as now.
select marks ->> 'before' as marks
from fuel.ingest_runs
where status = 'applied' and stamped_at > $1
order by stamped_at
limit 1;

-- name: read_files_as_of
-- The version of each change file that had been looked at last ($1: when).
select distinct on (key) key, etag, date_trunc('second', modified_at) as modified_at, status, file_at
from fuel.ingest_files
where processed_at <= $1
order by key, processed_at desc, modified_at desc;

-- name: read_history_kept
-- The first instant that can be asked for (null if all is kept), and whether the one asked for ($1) lies in the future.
select h.since, $1 > now() as is_future from (select 1) as one left join fuel.history_kept as h on true;

-- name: read_held_lists
-- Lists of records that were undone and are held.
select list_hash, rules_digest, reading, undone_run, undone_by from fuel.undone_lists where released_at is null;

-- name: read_left
-- The rows that an undone run ($1) had written, as it left them, which is what its undo ($2) replaced; and whether each is so
-- again. None if it was to read a whole snapshot ($3) and rows apart from these changed since: a list of all rows is another
-- list then.
with undone as (
    select distinct on (v.id) v.id, v.raw, v.deleted_at, v.absent_since, v.source_key
    from fuel.record_versions as v
    where v.replaced_by_run = $2::text
    order by v.id, v.version_id
)
select
    u.id,
    u.raw::text as raw,
    u.deleted_at is not null as is_deleted,
    u.absent_since is not null as is_absent,
    u.source_key as key,
    r.raw = u.raw
    and (r.deleted_at is null) = (u.deleted_at is null)
    and (r.absent_since is null) = (u.absent_since is null) as stands
from undone as u
join fuel.records as r using (id)
where not ($3::boolean and exists (
    select
    from fuel.records as o
    where o.last_changed_at > (select i.stamped_at from fuel.ingest_runs as i where i.run_id = $1::text)
    and o.id not in (select n.id from undone as n)
))
order by u.id;

-- name: read_plan_run
-- The run that applied a plan ($1: the run that made it).
select run_id from fuel.ingest_runs where plan_run_id = $1 and status = 'applied';

-- name: read_undoable
-- A run, with what is needed to undo it ($1: the beginning of its id): what it moved, and what undid it since.
select
    r.run_id, r.status, r.source, r.marks::text as marks, r.lists::text as lists, r.undone_run, r.reopened::text as reopened,
    r.stamped_at,
    (select o.lists::text from fuel.ingest_runs as o where o.run_id = r.undone_run) as redone,
    (
        select u.run_id
        from fuel.ingest_runs as u
        where u.undone_run = r.run_id and u.status = 'applied'
        order by u.stamped_at desc
        limit 1
    ) as undone_by,
    (select h.since from fuel.history_kept as h) as kept_since
from fuel.ingest_runs as r
where starts_with(r.run_id, $1::text) and $1::text <> ''
order by r.run_id
limit 2;

-- name: read_last_applied
-- The run that was applied last.
select run_id from fuel.ingest_runs where status = 'applied' order by stamped_at desc limit 1;

-- name: read_written
-- The rows that a run ($1) wrote: what each was before (null if the run inserted it), what it is now, and whether anybody
-- wrote it since. `raw_before` is null if the text is the same.
with replaced as (
    select distinct on (v.id) v.*
    from fuel.record_versions as v
    where v.replaced_by_run = $1
    order by v.id, v.version_id
),
touched as (
    select id from replaced
    union
    select r.id from fuel.records as r where r.run_id = $1
    union
    select v.id from fuel.record_versions as v where v.run_id = $1
)
select
    t.id,
    b.id is null as was_inserted,
    r.id is null or exists (
        select from fuel.record_versions as v where v.id = t.id and v.version_id > coalesce(b.version_id, 0) and (b.id is not null or v.run_id = $1)
    ) as is_conflict,
    coalesce(r.run_id, (select v.replaced_by_run from fuel.record_versions as v where v.id = t.id order by v.version_id desc limit 1)) as last_run,
    case when b.raw is distinct from r.raw then b.raw::text end as raw_before,
    r.raw::text as raw_now,
    b.deleted_at as deleted_before,
    b.absent_since as absent_before,
    b.source_key as key_before,
    b.source_at as source_at_before,
    b.change_at as change_at_before,
    b.fingerprint as fingerprint_before,
    r.deleted_at as deleted_now,
    r.absent_since as absent_now,
    r.source_key as key_now,
    r.source_at as source_at_now,
    r.change_at as change_at_now,
    r.fingerprint as fingerprint_now,
    r.plate,
    r.filled_at,
    hash_record_extended(row(r.raw, r.deleted_at, r.absent_since, r.source_at, r.change_at, r.fingerprint), 0) as seen
from touched as t
left join replaced as b using (id)
left join fuel.records as r using (id)
order by t.id;

-- name: read_noted
-- The rows of which a run ($1) noted newer evidence, and that nobody has changed since: the evidence before.
select
    e.id, e.fingerprint, e.source_at, e.change_at, r.deleted_at, r.absent_since, r.plate, r.filled_at,
    hash_record_extended(row(r.raw, r.deleted_at, r.absent_since, r.source_at, r.change_at, r.fingerprint), 0) as seen
from fuel.evidence_versions as e
join fuel.records as r using (id)
where e.replaced_by_run = $1
and not exists (select from fuel.evidence_versions as n where n.id = e.id and n.evidence_id > e.evidence_id)
and not exists (select from fuel.record_versions as v where v.id = e.id and v.replaced_at >= e.replaced_at)
order by e.id;

-- name: read_resolved_rejects
-- The rejects that a run ($1) resolved.
select reject_id from fuel.rejects where resolved_by = $1 order by reject_id;

-- name: count_live
-- How many rows are live.
select count(*) as rows from fuel.records where deleted_at is null and absent_since is null;

-- name: read_fitness
-- What shows whether the schema in the database is the one that this program writes: migrations applied, row level security,
-- triggers of ours that somebody switched off, and whether for this session no trigger fires.
select
    array_to_json(array(select m.file from fuel.schema_migrations as m order by m.file))::text as files,
    (
        select string_agg(format('fuel.%I', c.relname), ', ' order by c.relname)
        from pg_class as c
        where c.relnamespace = 'fuel'::regnamespace and (c.relrowsecurity or c.relforcerowsecurity)
    ) as secured,
    (
        select string_agg(format('%I on fuel.%I', t.tgname, c.relname), ', ' order by c.relname, t.tgname)
        from pg_trigger as t
        join pg_class as c on c.oid = t.tgrelid
        join pg_proc as f on f.oid = t.tgfoid
        where c.relnamespace = 'fuel'::regnamespace and f.pronamespace = 'fuel'::regnamespace
        and not t.tgisinternal and t.tgenabled in ('D', 'R')
    ) as silenced,
    current_setting('session_replication_role') = 'replica' as is_replica;
