-- Refused records that nobody has repaired yet.
select reject_id, id, rule, source_key from fuel.rejects where resolved_at is null
