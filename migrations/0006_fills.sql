-- A vehicle's fills in their order: which count towards its figures, which odometer readings are good, which fills are one stop.

-- A fill with what is known of its vehicle.
create view fuel.known_fills as
with limits as materialized (
    select l.price_min_kes, l.price_max_kes, l.price_believable_kes from fuel.anomaly_limit as l
)
select
    r.id, v.vehicle, r.filled_at,
    coalesce(fuel.family_of(r.fuel_type), v.usual_family) as family,
    r.litres, r.amount_kes, r.odometer_km,
    coalesce(r.odometer_km between 1 and 2000000, false) and v.has_odometer as has_reading,
    not r.filled_at_is_assumed and (r.filled_at at time zone fuel.feed_zone())::time <> '00:00' as has_clock,
    (v.superseded ->> r.id::text)::bigint as superseded_by,
    (v.unclear ->> r.id::text)::bigint as unclear_with,
    coalesce(
        r.amount_kes > 0 and r.price_per_litre_kes < l.price_min_kes
        and r.litres between r.amount_kes * l.price_min_kes and r.amount_kes * l.price_max_kes,
        false
    ) as is_swapped,
    coalesce(r.price_per_litre_kes > l.price_believable_kes, false) as is_too_dear,
    v.vehicle_class, v.litres_min, v.litres_max, v.km_per_litre_min, v.km_per_litre_max, v.is_known, v.has_odometer,
    v.tank_litres, v.has_plate_shape, v.usual_family, v.is_mixed, v.most_litres, v.second_litres,
    coalesce(r.id = any (v.stray_ids), false) as is_stray, v.stray_km, v.stray_at
from fuel.fleet as v
join fuel.records as r on r.vehicle = v.vehicle
cross join limits as l
where r.deleted_at is null and r.absent_since is null and r.filled_at is not null;

-- A fill in its vehicle's order. It is part of the chain that figures come from unless it is superseded, of another fuel
-- family than the vehicle's usual one (an unknown fuel counts as the usual one), or the vehicle has no odometer. Litres
-- and money count if they are believable: above zero, not swapped, not over 1,500 KES a litre. The very same fill (time,
-- litres, amount and reading) once more, though nobody knows when it was reported, counts once in a span. A fill that is dated
-- long before its report, and reads more than the next fill, is misdated: its reading counts for nothing where it stands.
create view fuel.placed_fills as
select
    o.*,
    o.has_reading and not o.repeats and not o.is_misdated as has_own_reading,
    case when o.repeats then 0 when o.litres > 0 and not o.is_swapped then o.litres end as counted_litres,
    case when o.repeats then 0 when o.amount_kes > 0 and not o.is_swapped and not o.is_too_dear then o.amount_kes end as counted_kes,
    case when o.repeats then o.before_id end as repeats_id
from (
    select
        p.*,
        p.superseded_by is null and p.has_odometer and p.family is not distinct from p.usual_family as in_chain,
        lag(p.id) over counted as before_id,
        lag(p.filled_at) over counted as before_at,
        coalesce(
            p.has_reading and p.litres > 0 and p.unclear_with is null
            and p.filled_at = lag(p.filled_at) over counted and p.odometer_km = lag(p.odometer_km) over counted
            and p.litres = lag(p.litres) over counted and p.amount_kes is not distinct from lag(p.amount_kes) over counted,
            false
        ) as repeats,
        row_number() over counted as nth,
        p.is_stray and coalesce(p.odometer_km > lead(p.odometer_km) over counted, false) as is_misdated,
        -- Litres of another fuel, bought before this stop, and by its end: what if only their fuel type is mistyped?
        sum(p.odd_litres) over before_stop as odd_before,
        sum(p.odd_litres) over by_its_end as odd_by_end
    from (
        select
            q.*,
            case when q.family <> q.usual_family and q.family <> 'ADBLUE' and q.litres > 0 and not q.is_swapped then q.litres end as odd_litres
        from fuel.known_fills as q
    ) as p
    window
        counted as (partition by p.vehicle, p.superseded_by is null order by p.filled_at, p.odometer_km, p.id),
        before_stop as (
            partition by p.vehicle, p.superseded_by is null order by p.filled_at
            range between unbounded preceding and (select l.stop_within from fuel.span_limit as l) preceding
        ),
        by_its_end as (
            partition by p.vehicle, p.superseded_by is null order by p.filled_at
            range between unbounded preceding and (select l.stop_within from fuel.span_limit as l) following
        )
) as o;

-- Readings. A reading that lies outside its two neighbours while these agree with each other is an outlier and voids only
-- itself; between two outliers the good reading looks odd, until the next but one on either side are asked. Receipts of one
-- stop may come in either order: within 20 minutes and 5 km nothing is odd. Fills without a reading are walked through apart.
create view fuel.read_fills as
select
    n.*,
    coalesce(
        n.in_chain and n.has_own_reading
        and n.before_km <= n.after_km
        and (
            n.odometer_km < n.before_km - case when n.filled_at - n.before_read_at <= l.stop_within then l.stop_km else 0 end
            or n.odometer_km > n.after_km + case when n.after_read_at - n.filled_at <= l.stop_within then l.stop_km else 0 end
        )
        and (
            n.odometer_km between n.before_that_km and n.after_that_km
            and n.before_km not between n.before_that_km and n.odometer_km
            and n.after_km not between n.odometer_km and n.after_that_km
        ) is not true,
        false
    ) as is_odd_reading
from (
    select
        f.*,
        lag(f.odometer_km) over readings as before_km,
        lag(f.filled_at) over readings as before_read_at,
        lead(f.filled_at) over readings as after_read_at,
        lag(f.odometer_km, 2) over readings as before_that_km,
        lead(f.odometer_km) over readings as after_km,
        lead(f.odometer_km, 2) over readings as after_that_km
    from fuel.placed_fills as f
    window readings as (partition by f.vehicle, f.in_chain, f.has_own_reading order by f.filled_at, f.odometer_km, f.id)
) as n
cross join (select * from fuel.span_limit offset 0) as l;

-- A fill along the chain that figures come from, with running totals.
create view fuel.chained_fills as
select
    f.*,
    case when f.in_chain and f.has_own_reading and not f.is_odd_reading then f.odometer_km end as good_km,
    coalesce(f.filled_at - lag(f.filled_at) over chain > l.stop_within, true) as is_after_pause,
    l.stop_km,
    row_number() over chain as fills_so_far,
    coalesce(sum(f.counted_litres) over chain, 0) as litres_so_far,
    count(f.counted_litres) over chain as with_litres_so_far,
    coalesce(sum(f.counted_kes) over chain, 0) as kes_so_far,
    count(f.counted_kes) over chain as with_kes_so_far,
    count(*) filter (where f.unclear_with is not null or f.is_misdated) over chain as unclear_so_far
from fuel.read_fills as f
cross join (select * from fuel.span_limit offset 0) as l
window chain as (partition by f.vehicle, f.in_chain order by f.filled_at, f.odometer_km, f.id rows unbounded preceding);

-- Where a stop begins: after a pause, or far from the last good reading, if no pause lies between them, which would have begun
-- one. An odometer may fall, so it rides in the low bits of the fill's number: the greatest so far has the last good reading.
create view fuel.parted_fills as
select
    g.*,
    g.is_after_pause
    or coalesce(
        abs(g.good_km - (max((g.fills_so_far << 21) + g.good_km) over before_this & 2097151)) > g.stop_km
        and max((g.fills_so_far << 21) + g.good_km) over before_this >> 21 >= max(g.fills_so_far) filter (where g.is_after_pause) over before_this,
        false
    ) as begins_stop
from fuel.chained_fills as g
window before_this as (partition by g.vehicle, g.in_chain order by g.filled_at, g.odometer_km, g.id rows between unbounded preceding and 1 preceding);

-- Stops. Fills within 20 minutes of the one before, whose good readings lie within 5 km or that give none, are one stop:
-- two tanks, a pump's limit, cash and card. The last fill with a good reading carries the stop's figures. Running totals
-- never fall, so that of the stop is the greatest of its fills.
create view fuel.stopped_fills as
select
    n.*,
    max(n.fills_so_far) filter (where n.good_km is not null) over whole_stop as carrier,
    max(n.fills_so_far) over whole_stop as stop_fills_so_far,
    max(n.litres_so_far) over whole_stop as stop_litres_so_far,
    max(n.with_litres_so_far) over whole_stop as stop_with_litres_so_far,
    max(n.kes_so_far) over whole_stop as stop_kes_so_far,
    max(n.with_kes_so_far) over whole_stop as stop_with_kes_so_far,
    max(n.unclear_so_far) over whole_stop as stop_unclear_so_far,
    min(n.odd_before) over whole_stop as stop_odd_before,
    max(n.odd_by_end) over whole_stop as stop_odd_by_end
from (
    select p.*, count(*) filter (where p.begins_stop) over chain as stop
    from fuel.parted_fills as p
    window chain as (partition by p.vehicle, p.in_chain order by p.filled_at, p.odometer_km, p.id rows unbounded preceding)
) as n
window whole_stop as (partition by n.vehicle, n.in_chain, n.stop);

