-- How many of the live rows have each column: what a feed that lost a column is held against.
select
    count(*) as rows,
    count(car) as car,
    count(driver) as driver,
    count(fuel_type) as fuel_type,
    count(department) as department,
    count(litres) as litres,
    count(amount_kes) as amount_kes,
    count(odometer_km) as odometer_km,
    count(filled_at) as filled_at
from fuel.records
where deleted_at is null and absent_since is null
