-- Stands in for the table that the tracking application owns, so that the demo's fills meet their vehicles.
create table tracksolid.devices (imei text primary key, vehicle_number text, cost_centre text, assigned_city text)
