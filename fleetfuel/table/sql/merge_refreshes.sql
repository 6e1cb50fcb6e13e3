-- Unchanged rows whose text, or the rules it was validated under, is another, or that were seen in a newer file.
with written as (
    update fuel.records r
    set fingerprint = s.fingerprint, source_at = s.source_at
    from fuel_stage s
    where s.id = r.id and s.action = 'refresh'
    returning 1
)
select count(*) as rows from written
