-- Consumption between odometer readings, per plate: a figure where the readings carry one, otherwise null and the reason.

create view reporting.v_fuel_efficiency as
select
    f.id,
    f.plate,
    f.filled_at,
    f.filled_at_eat::date as filled_on,
    f.fuel_type,
    f.litres,
    f.amount_kes,
    f.odometer_km,
    f.distance_km,
    f.span_litres,
    f.km_per_litre,
    f.litres_per_100km,
    f.kes_per_km,
    f.rolling_km_per_litre,
    f.status
from fuel.current_fill_facts as f
where not f.is_apart;

comment on view reporting.v_fuel_efficiency is 'Live fills with a plate and a time: distance and litres since the last good odometer reading, and what follows from them. status says why a figure is missing. Rolling figures are sums over sums, never a mean of ratios.';
