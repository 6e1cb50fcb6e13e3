-- The devices table as far as this login sees it, and whether the view of fills reads it. No row: there is no such table.
select
    has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select') as is_readable,
    (
        select string_agg(a.attname, ', ' order by a.attnum)
        from pg_attribute as a
        where a.attrelid = c.oid and a.attname in ('imei', 'vehicle_number', 'cost_centre', 'assigned_city') and not a.attisdropped
    ) as columns,
    exists (
        select
        from pg_depend as d
        join pg_rewrite as w on w.oid = d.objid
        join pg_class as v on v.oid = w.ev_class
        join pg_namespace as vn on vn.oid = v.relnamespace
        where d.refobjid = c.oid and vn.nspname = 'reporting' and v.relname = 'v_fuel_fills'
    ) as is_bound
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'tracksolid' and c.relname = 'devices'
