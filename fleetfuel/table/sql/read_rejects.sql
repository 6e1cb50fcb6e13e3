-- Records set aside, the last seen first ($1: only those that nobody repaired; $2: of this id, where it is not null; $3: how many).
select
    reject_id, rule, id, reason, content, content_bytes is not null as is_binary, source_key, position, first_run_id, last_run_id,
    first_seen_at, last_seen_at, times_seen, resolved_at, resolved_by, count(*) over () as total
from fuel.rejects
where (not $1::boolean or resolved_at is null)
and ($2::bigint is null or id = $2::bigint)
order by last_seen_at desc, source_key, position, reject_id
limit $3::bigint
