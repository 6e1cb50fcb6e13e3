-- Every vehicle with live fills, and what is known of it before its fills are walked through. The same as in 0005, but for how fills
-- are found that have no time, or one long before their report: in the walk that looks for twins, too. By themselves they were
-- looked for by their readings, too, and in a large table the planner walked through the readings of the whole fleet for them.
create or replace view fuel.fleet as
select
    v.vehicle, c.class as vehicle_class, c.litres_min, c.litres_max, c.km_per_litre_min, c.km_per_litre_max,
    known.vehicle is not null as is_known, coalesce(known.has_odometer, true) as has_odometer, known.tank_litres,
    fuel.has_plate_shape(v.vehicle) as has_plate_shape,
    coalesce(fuel.family_of(known.fuel_type), used.usual_family) as usual_family, used.is_mixed and known.fuel_type is null as is_mixed,
    used.most_litres, used.second_litres,
    twins.superseded, twins.unclear, stray.ids as stray_ids, stray.km as stray_km, stray.filled_at as stray_at
from (
    select n.vehicle, array_agg(n.id) filter (where n.is_reported_near) as reported_near, array_agg(n.id) filter (where n.is_stray) as stray
    from (
        select
            r.vehicle, r.id,
            least(r.reported_at - lag(r.reported_at) over reports, lead(r.reported_at) over reports - r.reported_at)
                <= (select l.twin_within from fuel.anomaly_limit as l) as is_reported_near,
            r.odometer_km between 1 and 2000000
                and (r.filled_at is null or r.filled_at < r.reported_at - (select l.late_after from fuel.anomaly_limit as l)) as is_stray
        from (
            select
                r.vehicle, r.id, r.filled_at, r.odometer_km,
                case when r.filled_at is not null and r.source_created_at >= '2015-01-01Z' then r.source_created_at end as reported_at
            from fuel.records as r
            where r.deleted_at is null and r.absent_since is null and r.vehicle is not null
        ) as r
        window reports as (partition by r.vehicle order by r.reported_at, r.id)
    ) as n
    group by n.vehicle
) as v
left join lateral (select k.* from fuel.known_vehicle as k where k.vehicle = v.vehicle order by k.plate limit 1) as known on true
left join lateral (
    select k.* from fuel.vehicle_class as k
    where k.class = known.class or (known.class is null and (k.plate_pattern is null or v.vehicle ~ k.plate_pattern))
    order by k.plate_pattern is null, k.rank limit 1
) as c on true
cross join lateral (
    select
        jsonb_object_agg(t.id, t.superseded_by) filter (where t.superseded_by is not null) as superseded,
        jsonb_object_agg(t.id, t.unclear_with) filter (where t.unclear_with is not null) as unclear,
        coalesce(array_agg(t.id) filter (where t.superseded_by is not null), '{}') as superseded_ids
    from fuel.twins_of(v.reported_near, (select l.twin_within from fuel.anomaly_limit as l)) as t
) as twins
cross join lateral fuel.fuel_of(v.vehicle, twins.superseded_ids) as used
-- Fills with a reading that have no time, or one long before their report: they may have been at another time.
left join lateral (
    select array_agg(r.id) as ids, array_agg(r.odometer_km) as km, array_agg(r.filled_at) as filled_at
    from fuel.records as r
    where r.id = any (v.stray)
    and (r.filled_at is null or fuel.is_usable_report(r.source_created_at, r.source_at))
    and coalesce(fuel.family_of(r.fuel_type), used.usual_family) is not distinct from used.usual_family
    and not r.id = any (twins.superseded_ids)
) as stray on true;
