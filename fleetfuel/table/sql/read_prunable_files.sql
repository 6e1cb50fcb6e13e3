-- Versions of files that were read before $1; which of them changes mode still has to know is for the caller to say.
select key, etag, modified_at
from fuel.ingest_files
where processed_at < $1
