-- One line in the ledger, in the transaction of the migration itself.
insert into fuel.schema_migrations (file, checksum, milliseconds)
values ($1, $2, $3)
returning file, checksum, applied_at, milliseconds
