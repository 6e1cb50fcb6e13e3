-- READER 2: the table as it stands, and what earlier runs left for the next.

-- name: read_marks
-- Where each feed stands, as of which instant; one row a feed, whether or not anything of it was applied.
select feeds.feed, s.watermark, s.key, s.etag, s.modified_at, s.rules_digest, s.proof, s.run_id, now() as asked_at
from (values ('snapshot'), ('changes')) as feeds (feed)
left join fuel.ingest_state as s on s.feed = feeds.feed;

-- name: read_rows
-- Every row's id and fingerprint: what the decision needs to know of a row that did not change. No parameters, so it
-- streams. A time that is yet to come is a wrong clock's and counts as none.
select
    id,
    fingerprint,
    case when change_at <= now() then change_at end as change_at,
    deleted_at is null and absent_since is null as is_live,
    absent_since is null as is_present
from fuel.records;

-- name: read_open_rejects
-- Refused records that nobody has repaired yet.
select reject_id, id, rule, source_key from fuel.rejects where resolved_at is null;

-- name: read_details
-- The rows with the given ids in full: what a record that may change them is compared with. `own_at` is the time that the
-- version itself names, where it was believed. A time that is yet to come is a wrong clock's and counts as none.
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
    filled_at
from fuel.records
where id = any ($1::text::bigint[]);

-- name: read_column_shares
-- How many of the live rows have each column: what a feed that lost a column is held against.
select
    count(*) as rows,
    count(car) as car,
    count(driver) as driver,
    count(fuel_type) as fuel_type,
    count(department) as department,
    count(litres) as litres,
    count(amount_kes) as amount_kes,
    count(odometer_km) as odometer_km,
    count(filled_at) as filled_at
from fuel.records
where deleted_at is null and absent_since is null;

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
-- An aggregate over the table that any load, and any edit by hand (which drops a fingerprint), alters.
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
    exists (select from fuel.stale_plates) as has_stale_facts;

-- name: read_rules_state
-- The rules that `migrate` proved and synced: file and digest.
select file, digest from fuel.rules_state;
