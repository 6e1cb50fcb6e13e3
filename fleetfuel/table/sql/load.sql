-- THE WRITER: stage, merge, prove, and a run's lines in the ledger. All in one transaction, except the questions after a lost commit.

-- name: copy_devices
-- Copy the vehicles' devices as they are now ($1: whether a table or a column that is missing was removed on purpose).
select said, is_broken from fuel.copy_devices($1::boolean);

-- name: create_stage
-- The rows a plan writes, staged for one merge; gone with the transaction.
create temporary table fuel_stage (
    action       text not null,
    id           bigint not null,
    raw          jsonb,
    fingerprint  uuid,
    source_key   text,
    source_at    timestamptz not null,
    change_at    timestamptz,
    deleted_at   timestamptz,
    absent_since timestamptz,
    seen         bigint
) on commit drop;

-- name: index_stage
-- Let the planner know what was staged: an unanalysed temporary table is taken for a thousand rows.
analyze fuel_stage (id, action);

-- name: find_moved
-- Staged rows that are no longer what the plan saw: how many, the first few, and the newest run that wrote one of them.
with moved as (
    select s.id, r.run_id, r.last_changed_at
    from fuel_stage s
    left join fuel.records r using (id)
    where s.seen is distinct from case
        when r.id is not null
        then hash_record_extended(row(r.raw, r.deleted_at, r.absent_since, r.source_at, r.change_at, r.fingerprint), 0)
    end
)
select
    count(*) as rows,
    (select string_agg(id::text, ', ') from (select id from moved order by id limit 5) as first) as ids,
    (select run_id from moved where run_id is not null order by last_changed_at desc limit 1) as run_id
from moved;

-- name: count_writes
-- Rows of fuel.records that this session wrote and the server has not reported yet: the difference between two readings in
-- one transaction is what was written in between, also by triggers. `is_counted` is false if the server does not count.
select
    pg_stat_get_xact_tuples_inserted('fuel.records'::regclass) as inserted,
    pg_stat_get_xact_tuples_updated('fuel.records'::regclass) as updated,
    pg_stat_get_xact_tuples_deleted('fuel.records'::regclass) as deleted,
    current_setting('track_counts')::boolean as is_counted;

-- name: announce_load
-- The statements of this merge mark the vehicles that they touch as stale, all at once, and bring the fingerprint of each
-- row, even if the row has it already: so the triggers need not do this row by row.
select set_config('fuel.marks_plates', 'on', true), set_config('fuel.brings_fingerprints', 'on', true);

-- name: merge_inserts
-- New records. A row that somebody else inserted meanwhile makes this fail, and the run is planned again.
with written as (
    insert into fuel.records (id, raw, fingerprint, source_key, source_at, change_at, deleted_at, absent_since, run_id)
    select id, raw, fingerprint, source_key, source_at, change_at, deleted_at, absent_since, $1
    from fuel_stage
    where action = 'insert'
    returning vehicle
),
marked as (
    insert into fuel.stale_vehicles (vehicle)
    select distinct vehicle from written where vehicle is not null
    on conflict do nothing
)
select count(*) as rows from written;

-- name: merge_writes
-- Rows of one action other than insert: a value, a deletion or an absence that changed. A null `raw` leaves it as it is.
-- Says how many it wrote, and of how many of these the history has to keep a version.
with old as (
    select r.id, r.raw, r.deleted_at, r.absent_since, r.vehicle
    from fuel.records r
    join fuel_stage s using (id)
    where s.action = $2
),
written as (
    update fuel.records r
    set raw = coalesce(s.raw, r.raw),
        fingerprint = s.fingerprint,
        source_key = s.source_key,
        source_at = s.source_at,
        change_at = s.change_at,
        deleted_at = s.deleted_at,
        absent_since = s.absent_since,
        run_id = $1,
        last_changed_at = now()
    from fuel_stage s
    where s.id = r.id and s.action = $2
    returning r.id, r.raw, r.deleted_at, r.absent_since, r.vehicle
),
marked as (
    insert into fuel.stale_vehicles (vehicle)
    select vehicle from (select vehicle from old union select vehicle from written) as touched where vehicle is not null
    on conflict do nothing
)
select
    count(*) as rows,
    count(*) filter (
        where (o.raw, o.deleted_at, o.absent_since) is distinct from (w.raw, w.deleted_at, w.absent_since)
    ) as versions
from written w
left join old o using (id);

-- name: merge_marks
-- Deleted rows that are gone from the snapshot, too: noted, so that a late file cannot bring them back.
with written as (
    update fuel.records r
    set absent_since = s.absent_since, change_at = s.change_at, fingerprint = s.fingerprint, run_id = $1
    from fuel_stage s
    where s.id = r.id and s.action = 'mark_absent'
    returning 1
)
select count(*) as rows from written;

-- name: merge_refreshes
-- Rows of which only the evidence changed: the same values written as another text, other rules, a newer change file that
-- said the same, or what a restored source made void. The evidence before is kept, for --as-of and undo.
with kept as (
    insert into fuel.evidence_versions (id, fingerprint, source_at, change_at, replaced_by_run)
    select r.id, r.fingerprint, r.source_at, r.change_at, $1
    from fuel.records r
    join fuel_stage s using (id)
    where s.action = $2
),
written as (
    update fuel.records r
    set fingerprint = s.fingerprint, source_at = s.source_at, change_at = s.change_at
    from fuel_stage s
    where s.id = r.id and s.action = $2
    returning 1
)
select count(*) as rows from written;

-- name: prove_merge
-- Staged rows that the table does not hold as planned, and the versions that the history kept of them. There have to be zero,
-- and as many as the merge said, or the run is rolled back. now() is when this transaction began: only it stamps rows so.
select
    count(*) filter (
        where r.id is null
           or r.fingerprint is distinct from s.fingerprint
           or r.change_at is distinct from s.change_at
           or s.action in ('refresh', 'forget', 'mark_absent') and r.last_changed_at = now()
           or s.action not in ('refresh', 'forget') and (
                  r.run_id is distinct from $1
               or r.absent_since is distinct from s.absent_since
               or (r.deleted_at is null) <> (s.deleted_at is null)
               or s.raw is not null and record_image_ne(row(r.raw), row(s.raw)) -- bytes: the merge copies what was staged
           )
           or s.action <> 'mark_absent' and r.source_at <> s.source_at
           or s.action not in ('refresh', 'forget', 'mark_absent') and (
                  r.source_key is distinct from s.source_key
               or r.last_changed_at <> now()
               or (s.action = 'insert') <> (r.first_seen_at = now())
           )
    ) as wrong,
    (
        select count(*)
        from fuel_stage o
        join fuel.record_versions v on v.id = o.id and v.replaced_at = now()
        where o.action not in ('insert', 'refresh', 'forget') and v.replaced_by_run = $1
    ) as versions
from fuel_stage s
-- One look-up a row (offset 0 keeps it so): a hash of either side would spill its texts to disk.
left join lateral (select * from fuel.records found where found.id = s.id offset 0) r on true;

-- name: create_reject_stage
-- Records that this run rejected, staged for the merge into fuel.rejects.
create temporary table fuel_reject_stage (
    content_hash  uuid not null,
    rule          text not null,
    id            bigint,
    reason        text not null,
    content       text,
    content_bytes bytea,
    source_key    text not null,
    position      bigint not null
) on commit drop;

-- name: merge_rejects
-- One row for each rejected text and rule: if the same comes again, in any file, `times_seen` rises and nothing is added.
insert into fuel.rejects as r (content_hash, rule, id, reason, content, content_bytes, source_key, position, first_run_id, last_run_id)
select distinct on (content_hash, rule)
    content_hash, rule, id, reason, content, content_bytes, source_key, position, $1, $1
from fuel_reject_stage
order by content_hash, rule, source_key, position
on conflict (content_hash, rule) do update
set last_run_id = excluded.last_run_id,
    last_seen_at = now(),
    times_seen = r.times_seen + 1,
    source_key = excluded.source_key,
    position = excluded.position,
    reason = excluded.reason,
    resolved_at = null,
    resolved_by = null;

-- name: resolve_rejects
-- Rejected records whose record this run accepted ($2: their reject_ids), or that its complete snapshot ($3: its key) no
-- longer holds.
update fuel.rejects
set resolved_at = now(), resolved_by = $1
where resolved_at is null
  and last_run_id <> $1
  and (reject_id = any ($2::text::bigint[]) or source_key = $3::text);

-- name: reopen_rejects
-- Rejected records that are open again ($1: their reject_ids): the run that resolved them is undone.
update fuel.rejects
set resolved_at = null, resolved_by = null
where reject_id = any ($1::text::bigint[]);

-- name: restore_mark
-- Put a feed back to where it stood before ($1: JSON object), without a proof of the table: so the next run reads the file.
insert into fuel.ingest_state as s (feed, watermark, key, etag, modified_at, rules_digest, run_id)
select feed, watermark, key, etag, modified_at, rules_digest, run_id
from jsonb_to_record($1::text::jsonb) as m (
    feed text, watermark timestamptz, key text, etag text, modified_at timestamptz, rules_digest text, run_id text
)
on conflict (feed) do update
set watermark = excluded.watermark,
    key = excluded.key,
    etag = excluded.etag,
    modified_at = excluded.modified_at,
    rules_digest = excluded.rules_digest,
    proof = null,
    run_id = excluded.run_id,
    updated_at = now();

-- name: remove_mark
-- Remove the mark of a feed ($1) of which nothing was applied before the run that is undone.
delete from fuel.ingest_state where feed = $1;

-- name: hold_lists
-- Hold the lists of records that an undone run had applied ($1: JSON array).
insert into fuel.undone_lists (list_hash, rules_digest, reading, undone_run, undone_by)
select distinct list_hash, rules_digest, reading, undone_run, undone_by
from jsonb_to_recordset($1::text::jsonb) as l (list_hash text, rules_digest text, reading text, undone_run text, undone_by text)
on conflict do nothing;

-- name: release_lists
-- Release lists that are held ($1: the run that releases them): those of a reading ($2), or of an undo ($3), if not null.
update fuel.undone_lists
set released_at = now(), released_by = $1
where released_at is null
and (reading = $2::text or undone_by = $3::text);

-- name: write_start
-- A run begins.
insert into fuel.ingest_starts (run_id, mode, source, started_at, version)
values ($1, $2, $3, $4::text::timestamptz, $5);

-- name: write_failure
-- A run that began has failed ($1: its id; $2: exit code; $3: why), unless it has ended already.
insert into fuel.ingest_runs (run_id, mode, source, started_at, status, exit_code, message, version)
select s.run_id, s.mode, s.source, s.started_at, 'failed', $2, $3, s.version
from fuel.ingest_starts as s
where s.run_id = $1
and not exists (select from fuel.ingest_runs as r where r.run_id = s.run_id);

-- name: write_run
-- One line of the ledger of runs.
insert into fuel.ingest_runs (
    run_id, mode, source, source_at, started_at, status, exit_code, counts, summary, metadata, message, rules_digest, version,
    plan_run_id, plan_checksum, marks, lists, undone_run, reopened
)
select
    run_id, mode, source, source_at, started_at, status, exit_code, counts, summary, metadata, message, rules_digest, version,
    plan_run_id, plan_checksum, coalesce(marks, '{}'), coalesce(lists, '[]'), undone_run, coalesce(reopened, '[]')
from jsonb_to_record($1::text::jsonb) as r (
    run_id text, mode text, source text, source_at timestamptz, started_at timestamptz, status text, exit_code integer,
    counts jsonb, summary jsonb, metadata jsonb, message text, rules_digest text, version text,
    plan_run_id text, plan_checksum text, marks jsonb, lists jsonb, undone_run text, reopened jsonb
);

-- name: write_files
-- The files of a run, one row a version of a file (a file may be named twice). If a version is read again, the row says what
-- came of it last.
insert into fuel.ingest_files (key, etag, size, file_at, modified_at, status, records, counts, reason, run_id)
select distinct on (key, etag, modified_at)
    key, etag, size, file_at, modified_at, status, records, coalesce(counts, '{}'), reason, run_id
from jsonb_to_recordset($1::text::jsonb) as f (
    key text, etag text, size bigint, file_at timestamptz, modified_at timestamptz, status text, records bigint,
    counts jsonb, reason text, run_id text
)
order by key, etag, modified_at
on conflict (left(key, 500), hashtextextended(key, 0), left(etag, 100), hashtextextended(etag, 0), modified_at) do update
set size = excluded.size,
    file_at = excluded.file_at,
    status = excluded.status,
    records = excluded.records,
    counts = excluded.counts,
    reason = excluded.reason,
    run_id = excluded.run_id,
    processed_at = now();

-- name: write_mark
-- Where a feed stands now. The watermark of the changes never moves back, unless it lies in the future; the mark of the
-- snapshots is always that of the last one applied.
insert into fuel.ingest_state as s (feed, watermark, key, etag, modified_at, rules_digest, proof, run_id)
select feed, watermark, key, etag, modified_at, rules_digest, proof, run_id
from jsonb_to_record($1::text::jsonb) as m (
    feed text, watermark timestamptz, key text, etag text, modified_at timestamptz, rules_digest text, proof text, run_id text
)
on conflict (feed) do update
set (watermark, key, etag, modified_at, proof) = (
        select moved.watermark, moved.key, moved.etag, moved.modified_at, moved.proof
        from (values (true, excluded.watermark, excluded.key, excluded.etag, excluded.modified_at, excluded.proof),
                     (false, s.watermark, s.key, s.etag, s.modified_at, s.proof))
            as moved (moves, watermark, key, etag, modified_at, proof)
        where moved.moves = (excluded.feed = 'snapshot' or excluded.watermark >= s.watermark or s.watermark > now())
    ),
    rules_digest = excluded.rules_digest,
    run_id = excluded.run_id,
    updated_at = now();

-- name: read_transaction
-- The transaction that is about to commit: what to ask for if the answer gets lost.
select pg_current_xact_id()::text as xid, pg_backend_pid()::bigint as pid;

-- name: read_is_open
-- Whether a transaction ($1) is still under way. Another server that took over may not know it: then the number was not yet
-- given out there. (The snapshot's xmax is no help: a transaction under way may have a higher number.)
select case
    when $1::text::xid8 < pg_current_xact_id() then pg_xact_status($1::text::xid8) = 'in progress'
    else false
end as is_open;

-- name: end_session
-- End the session ($1) that still has this transaction ($2) open and lost its client.
select pg_terminate_backend(pid) as ended
from pg_stat_activity
where pid = $1::bigint and backend_xid = ($2::text::xid8)::xid;

-- name: has_run
-- Whether the ledger has this run ($1) as applied.
select exists (select from fuel.ingest_runs where run_id = $1 and status = 'applied') as present;
