-- Forget these versions of files ($1: JSON array of objects with key and etag).
with gone as (
    delete from fuel.ingest_files
    where (key, etag) in (select key, etag from jsonb_to_recordset($1::text::jsonb) as f (key text, etag text))
    returning 1
)
select count(*) as rows from gone
