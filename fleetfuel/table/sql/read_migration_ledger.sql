-- The migrations applied, in their order.
select file, checksum, applied_at, milliseconds
from fuel.schema_migrations
order by file collate "C"
