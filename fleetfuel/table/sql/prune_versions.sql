-- Remove the versions that were overwritten before $1.
with gone as (
    delete from fuel.record_versions
    where replaced_at < $1
    returning 1
)
select count(*) as rows from gone
