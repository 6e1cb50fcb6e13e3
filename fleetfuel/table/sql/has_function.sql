-- Whether a function of this signature exists: migrations that bring it may not be applied yet.
select to_regprocedure($1) is not null as present
