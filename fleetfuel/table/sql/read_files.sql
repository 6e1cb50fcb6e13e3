-- Versions of change files that were read before.
select key, etag from fuel.ingest_files
