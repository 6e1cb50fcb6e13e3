-- Consumption between odometer readings, per plate: a figure where the readings carry one, otherwise null and the reason.

-- Every live fill that has a plate and a time, in its vehicle's order, with the span it closes.
--
-- A span runs from the last good reading before a fill to the fill's own reading; its litres are all litres filled after
-- that reading, up to and including this fill, so those of a fill without a reading go to the next span. A reading that
-- lies outside its two neighbours while these agree with each other is an outlier and voids only itself.
-- Running totals turn every "since the last good reading" into a difference of two numbers: one walk along one index.
create view fuel.fill_spans as
with fills as (
    select
        r.id, r.plate, r.filled_at, r.fuel_type, r.driver, r.litres, r.amount_kes, r.price_per_litre_kes, r.odometer_km,
        row_number() over vehicle as ordinal,
        sum(r.litres) filter (where r.litres > 0) over vehicle as litres_so_far,
        count(*) filter (where r.litres > 0) over vehicle as fills_with_litres,
        sum(r.amount_kes) filter (where r.amount_kes > 0) over vehicle as kes_so_far,
        count(*) filter (where r.amount_kes > 0) over vehicle as fills_with_amount,
        lag(r.filled_at) over vehicle as before_at,
        lag(r.fuel_type) over vehicle as before_fuel_type,
        lag(r.driver) over vehicle as before_driver,
        lag(r.litres) over vehicle as before_litres,
        lag(r.amount_kes) over vehicle as before_amount_kes
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null and r.plate is not null and r.filled_at is not null
    window vehicle as (partition by r.plate order by r.filled_at, r.id rows unbounded preceding)
),
readings as (
    select
        f.*,
        row_number() over vehicle as reading,
        lag(f.odometer_km) over vehicle as before_km,
        lag(f.odometer_km, 2) over vehicle as before_before_km,
        lead(f.odometer_km) over vehicle as after_km,
        lead(f.odometer_km, 2) over vehicle as after_after_km
    from fills as f
    where f.odometer_km >= 1
    window vehicle as (partition by f.plate order by f.filled_at, f.id)
)
select 1
