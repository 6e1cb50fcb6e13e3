-- Remove the refusals that were resolved before $1.
with gone as (
    delete from fuel.rejects
    where resolved_at < $1
    returning 1
)
select count(*) as rows from gone
