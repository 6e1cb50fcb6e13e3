-- Consumption between odometer readings, per plate: a figure where the readings carry one, otherwise null and the reason.

-- The limits of a believable span, from rules/; a day counts as one day at least.
create view fuel.span_limit as
select
    coalesce(max(l.value) filter (where l.name = 'max_span_km'), 3000)::bigint as per_span,
    coalesce(max(l.value) filter (where l.name = 'max_km_per_day'), 1500)::bigint as per_day,
    greatest(coalesce(max(l.value) filter (where l.name = 'rolling_spans'), 10), 1)::bigint as rolling_spans
from fuel.check_limit as l
where l.code = 'efficiency';

-- Every live fill with a plate, a time and a readable odometer, in its vehicle's order, with the span it closes.
--
-- A span runs from the last good reading before a fill to the fill's own reading; its litres are all litres filled after
-- that reading, up to and including this fill, so those of a fill without a reading go to the next span. A reading that
-- lies outside its two neighbours while these agree with each other is an outlier and voids only itself.
--
-- One walk along one index, without a sort. Running totals never fall, so the total at the last good reading is the
-- greatest one among the good readings so far; an odometer may fall, so it rides in the low bits of the fill's number.
create view fuel.fill_spans as
with fills as (
    select
        r.id, r.plate, r.filled_at, r.fuel_type, r.litres, r.amount_kes, r.odometer_km,
        row_number() over vehicle as fills_so_far,
        coalesce(sum(r.litres) filter (where r.litres > 0) over vehicle, 0) as litres_so_far,
        count(*) filter (where r.litres > 0) over vehicle as with_litres_so_far,
        coalesce(sum(r.amount_kes) filter (where r.amount_kes > 0) over vehicle, 0) as kes_so_far,
        count(*) filter (where r.amount_kes > 0) over vehicle as with_kes_so_far
    from fuel.records as r
    where r.deleted_at is null and r.absent_since is null and r.plate is not null and r.filled_at is not null
    window vehicle as (partition by r.plate order by r.filled_at, r.id rows unbounded preceding)
),
readings as (
    select
        f.*,
        l.per_span,
        l.per_day,
        lag(f.odometer_km) over vehicle as before_km,
        lag(f.odometer_km, 2) over vehicle as before_that_km,
        lead(f.odometer_km) over vehicle as after_km,
        lead(f.odometer_km, 2) over vehicle as after_that_km
    from fills as f
    cross join fuel.span_limit as l
    where f.odometer_km between 1 and 2000000
    window vehicle as (partition by f.plate order by f.filled_at, f.id rows unbounded preceding)
),
judged as (
    select
        d.*,
        coalesce(
            d.before_km <= d.after_km and (d.odometer_km < d.before_km or d.odometer_km > d.after_km)
            -- Between two outliers the good reading looks odd, until the next but one on either side are asked.
            and (
                d.odometer_km between d.before_that_km and d.after_that_km
                and d.before_km not between d.before_that_km and d.odometer_km
                and d.after_km not between d.odometer_km and d.after_that_km
            ) is not true,
            false
        ) as is_outlier
    from readings as d
),
spans as (
    select
        j.*,
        max((j.fills_so_far << 21) + j.odometer_km) filter (where not j.is_outlier) over before_this as from_fill_and_km,
        max(j.filled_at) filter (where not j.is_outlier) over before_this as from_at,
        max(j.litres_so_far) filter (where not j.is_outlier) over before_this as from_litres_so_far,
        max(j.with_litres_so_far) filter (where not j.is_outlier) over before_this as from_with_litres_so_far,
        max(j.kes_so_far) filter (where not j.is_outlier) over before_this as from_kes_so_far,
        max(j.with_kes_so_far) filter (where not j.is_outlier) over before_this as from_with_kes_so_far
    from judged as j
    window before_this as (partition by j.plate order by j.filled_at, j.id rows between unbounded preceding and 1 preceding)
),
measured as (
    select
        s.*,
        s.from_fill_and_km & 2097151 as from_km,
        s.odometer_km - (s.from_fill_and_km & 2097151) as km,
        s.fills_so_far - (s.from_fill_and_km >> 21) as fills_since,
        s.litres_so_far - s.from_litres_so_far as litres_since
    from spans as s
),
decided as (
    select
        m.*,
        m.with_litres_so_far - m.from_with_litres_so_far = m.fills_since as has_litres,
        m.km > 0 and m.km <= m.per_span
        and (m.km <= m.per_day or m.km <= m.per_day * extract(epoch from m.filled_at - m.from_at) / 86400) as is_possible
    from measured as m
)
select
    d.id,
    d.plate,
    d.filled_at,
    d.fuel_type,
    d.litres,
    d.amount_kes,
    d.odometer_km,
    d.before_km,
    d.after_km,
    d.from_km,
    d.from_at,
    d.km,
    d.litres_since,
    least(d.per_span, d.per_day * greatest(1, extract(epoch from d.filled_at - d.from_at) / 86400))::bigint as max_km,
    case when d.with_kes_so_far - d.from_with_kes_so_far = d.fills_since then d.kes_so_far - d.from_kes_so_far end as kes_since,
    sum(d.km) filter (where d.is_possible and d.has_litres and not d.is_outlier) over last_spans as rolling_km,
    sum(d.litres_since) filter (where d.is_possible and d.has_litres and not d.is_outlier) over last_spans as rolling_litres,
    case
        when d.is_outlier then 'odometer_outlier'
        when d.km is null then 'first_fill'
        when d.km <= 0 then 'odometer_rollback'
        when not d.is_possible then 'odometer_jump'
        when d.has_litres then 'ok'
        else 'no_litres'
    end as status
from decided as d
window last_spans as (
    partition by d.plate order by d.filled_at, d.id
    rows between (select l.rolling_spans - 1 from fuel.span_limit as l) preceding and current row
);

create view reporting.v_fuel_efficiency as
select
    s.id,
    s.plate,
    s.filled_at,
    (s.filled_at at time zone 'Africa/Nairobi')::date as filled_on,
    s.fuel_type,
    s.litres,
    s.amount_kes,
    s.odometer_km,
    case when s.status in ('ok', 'no_litres') then s.km end as distance_km,
    case when s.status = 'ok' then s.litres_since end as span_litres,
    case when s.status = 'ok' then round(s.km / s.litres_since, 3) end as km_per_litre,
    case when s.status = 'ok' then round(s.litres_since * 100 / s.km, 3) end as litres_per_100km,
    case when s.status in ('ok', 'no_litres') then round(s.kes_since / s.km, 3) end as kes_per_km,
    case when s.status = 'ok' then round(s.rolling_km / s.rolling_litres, 3) end as rolling_km_per_litre,
    s.status
from fuel.fill_spans as s
union all
select
    r.id,
    r.plate,
    r.filled_at,
    (r.filled_at at time zone 'Africa/Nairobi')::date,
    r.fuel_type,
    r.litres,
    r.amount_kes,
    r.odometer_km,
    null, null, null, null, null, null,
    case when r.odometer_km > 2000000 then 'odometer_outlier' else 'missing_odometer' end
from fuel.records as r
where r.deleted_at is null and r.absent_since is null and r.plate is not null and r.filled_at is not null
and (r.odometer_km between 1 and 2000000) is not true;

comment on view reporting.v_fuel_efficiency is 'Live fills with a plate and a time: distance and litres since the last good odometer reading, and what follows from them. status says why a figure is missing. Rolling figures are sums over sums, never a mean of ratios.';
