-- Copy the vehicles' devices as they are now ($1: whether a table or a column that is gone is gone on purpose).
select said, is_broken from fuel.copy_devices($1::boolean)
