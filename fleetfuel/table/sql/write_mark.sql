-- Where a feed stands now. It never moves back.
insert into fuel.ingest_state as s (feed, watermark, key, etag, rules_digest, proof, run_id)
select feed, watermark, key, etag, rules_digest, proof, run_id
from jsonb_to_record($1::text::jsonb) as m (
    feed text, watermark timestamptz, key text, etag text, rules_digest text, proof text, run_id text
)
on conflict (feed) do update
set watermark = greatest(s.watermark, excluded.watermark),
    key = case when excluded.watermark >= s.watermark then excluded.key else s.key end,
    etag = case when excluded.watermark >= s.watermark then excluded.etag else s.etag end,
    rules_digest = excluded.rules_digest,
    proof = case when excluded.watermark >= s.watermark then excluded.proof end,
    run_id = excluded.run_id,
    updated_at = now()
