-- Whether the ledger of migrations exists: before the first migration it does not.
select to_regclass('fuel.schema_migrations') is not null as present
