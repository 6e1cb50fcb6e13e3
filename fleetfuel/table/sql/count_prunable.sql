-- How many overwritten versions and resolved rejects are older than $1.
select
    (select count(*) from fuel.record_versions where replaced_at < $1) as versions,
    (select count(*) from fuel.rejects where resolved_at < $1) as rejects
