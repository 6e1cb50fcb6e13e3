-- Staged rows that the table does not hold as planned; zero, or the run is rolled back.
select count(*) as wrong
from fuel_stage s
left join fuel.records r using (id)
where r.id is null
   or r.fingerprint is distinct from s.fingerprint
   or s.action <> 'refresh' and (
          r.run_id is distinct from $1
       or r.absent_since is distinct from s.absent_since
       or (r.deleted_at is null) <> (s.deleted_at is null)
       or s.raw is not null and r.raw <> s.raw
       or s.action <> 'mark_absent' and r.source_at <> s.source_at
   )
