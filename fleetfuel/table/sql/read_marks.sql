-- Where each feed stands.
select feed, watermark, key, etag, rules_digest, proof, run_id from fuel.ingest_state
