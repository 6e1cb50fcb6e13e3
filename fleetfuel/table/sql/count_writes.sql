-- Rows of fuel.records that this session wrote and the server has not reported yet: the difference between two looks in one
-- transaction is what was written in between, whoever's trigger did it. Null where the server does not count.
select
    pg_stat_get_xact_tuples_inserted('fuel.records'::regclass) as inserted,
    pg_stat_get_xact_tuples_updated('fuel.records'::regclass) as updated,
    pg_stat_get_xact_tuples_deleted('fuel.records'::regclass) as deleted,
    current_setting('track_counts')::boolean as is_counted
