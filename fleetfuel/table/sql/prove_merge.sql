-- Staged rows that the table does not hold as planned, and the versions that the history kept of them: zero, and as many as
-- the merge owes it, or the run is rolled back. now() is when this transaction began: nobody else stamps rows with it.
select
    count(*) filter (
        where r.id is null
           or r.fingerprint is distinct from s.fingerprint
           or s.action in ('refresh', 'mark_absent') and r.last_changed_at = now()
           or s.action <> 'refresh' and (
                  r.run_id is distinct from $1
               or r.absent_since is distinct from s.absent_since
               or (r.deleted_at is null) <> (s.deleted_at is null)
               or s.raw is not null and record_image_ne(row(r.raw), row(s.raw)) -- bytes: the merge copies what was staged
           )
           or s.action <> 'mark_absent' and r.source_at <> s.source_at
           or s.action not in ('refresh', 'mark_absent') and (
                  r.source_key is distinct from s.source_key
               or r.last_changed_at <> now()
               or (s.action = 'insert') <> (r.first_seen_at = now())
           )
    ) as wrong,
    (
        select count(*)
        from fuel_stage o
        join fuel.record_versions v on v.id = o.id and v.replaced_at = now()
        where o.action not in ('insert', 'refresh') and v.replaced_by_run = $1
    ) as versions
from fuel_stage s
-- One look-up a row (offset 0 keeps it so): a hash of either side would spill its texts to disk.
left join lateral (select * from fuel.records found where found.id = s.id offset 0) r on true
