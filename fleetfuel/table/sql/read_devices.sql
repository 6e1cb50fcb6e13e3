-- What the last copy of the devices table found.
select said, is_broken, cardinality(columns) > 0 as is_read, since from fuel.devices_state
