-- The demo's vehicles.
insert into tracksolid.devices
select imei, vehicle_number, cost_centre, assigned_city
from jsonb_to_recordset($1::text::jsonb) as d (imei text, vehicle_number text, cost_centre text, assigned_city text)
