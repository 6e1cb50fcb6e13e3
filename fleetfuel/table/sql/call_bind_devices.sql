-- Join the views to the devices table as it is now, or to none; says which.
select fuel.bind_devices()::text as said
