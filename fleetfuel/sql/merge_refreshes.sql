-- Unchanged rows whose text, or the rules it was validated under, is another: the fingerprint alone.
with written as (
    update fuel.records r
    set fingerprint = s.fingerprint
    from fuel_stage s
    where s.id = r.id and s.action = 'refresh'
    returning 1
)
select count(*) as rows from written
