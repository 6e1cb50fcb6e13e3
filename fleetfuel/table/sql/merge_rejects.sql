-- One row a refused text, rule and file: the same again is seen once more, not stored once more.
insert into fuel.rejects as r (content_hash, rule, id, reason, content, content_bytes, source_key, position, first_run_id, last_run_id)
select distinct on (content_hash, rule, source_key)
    content_hash, rule, id, reason, content, content_bytes, source_key, position, $1, $1
from fuel_reject_stage
order by content_hash, rule, source_key, position
on conflict (content_hash, rule, source_key) do update
set last_run_id = excluded.last_run_id,
    last_seen_at = now(),
    times_seen = r.times_seen + 1,
    position = excluded.position,
    reason = excluded.reason,
    resolved_at = null,
    resolved_by = null
