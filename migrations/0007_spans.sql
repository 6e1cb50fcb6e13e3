-- From reading to reading: how far, on how many litres, for how much, and which spans are far from what is usual.

-- The last fill of a stop that has a good reading carries the figures of the stop. Which of these are bases, and which copies.
create view fuel.carried_fills as
select
    s.*,
    s.carries and s.good_km is distinct from lag(s.good_km) over carriers as is_base,
    -- The fill before once more, at its reading but at another time: bought again without driving, or reported twice.
    coalesce(
        s.carries and s.good_km = lag(s.good_km) over carriers and s.litres = lag(s.litres) over carriers
        and s.amount_kes is not distinct from lag(s.amount_kes) over carriers, false
    ) as is_copy,
    case when s.carries then row_number() over carriers end as nth_stop,
    case when s.carries then lag(s.id) over carriers end as last_stop_id
from (select f.*, coalesce(f.in_chain and f.fills_so_far = f.carrier, false) as carries from fuel.stopped_fills as f) as s
window carriers as (partition by s.vehicle, s.carries order by s.filled_at, s.odometer_km, s.id);

-- A fill with the last base before its stop, and the running totals at that base. The totals never fall, so these are the greatest
-- among the bases before; the reading rides in the low bits of the fill's number, as an odometer may fall.
create view fuel.based_fills as
select
    c.*,
    max((c.fills_so_far << 22) + (c.good_km << 1) + c.has_clock::integer) filter (where c.is_base) over before_this as base,
    max(c.filled_at) filter (where c.is_base) over before_this as from_at,
    max(c.stop_fills_so_far) filter (where c.is_base) over before_this as from_fills_so_far,
    max(c.stop_litres_so_far) filter (where c.is_base) over before_this as from_litres_so_far,
    max(c.stop_with_litres_so_far) filter (where c.is_base) over before_this as from_with_litres_so_far,
    max(c.stop_kes_so_far) filter (where c.is_base) over before_this as from_kes_so_far,
    max(c.stop_with_kes_so_far) filter (where c.is_base) over before_this as from_with_kes_so_far,
    max(c.stop_unclear_so_far) filter (where c.is_base) over before_this as from_unclear_so_far,
    max(coalesce(c.stop_odd_before, 0)) filter (where c.is_base) over before_this as from_odd_before
from fuel.carried_fills as c
window before_this as (partition by c.vehicle, c.carries order by c.filled_at, c.odometer_km, c.id rows between unbounded preceding and 1 preceding);

-- Spans. A span runs from the last base before a stop to the stop's own reading; its litres are all litres bought after
-- the base's stop, up to and including this one, so those of stops without a reading go to the next span. A reading that
-- is the base's own (a copied odometer) is no base: what was bought there goes to the next span, too.
create view fuel.spanned_fills as
select
    m.*,
    case
        when m.superseded_by is not null then 'superseded'
        when m.family is distinct from m.usual_family then 'other_fuel'
        when m.is_mixed then 'mixed_fuels'
        when not m.carries and m.carrier is not null and m.in_chain then 'same_stop'
        when not m.has_reading then case when m.odometer_km > 2000000 and m.has_odometer then 'odometer_outlier' else 'missing_odometer' end
        when m.is_odd_reading or m.is_misdated then 'odometer_outlier'
        when m.km <= 0 then 'odometer_rollback'
        when m.km > l.per_span and m.hours >= extract(epoch from l.gap) / 3600 and m.km <= l.gap_per_day * m.hours / 24 then 'fills_missing'
        -- A day counts as one at least: the message may be late.
        when m.km > l.per_span or m.km > l.per_day * greatest(1, m.hours / 24) then 'odometer_jump'
        when m.km is null then 'first_fill'
        when m.with_litres_since < m.fills_since then 'no_litres'
        when m.unclear_since > 0 then 'ambiguous'
        -- The reading of a fill without a time, or with a doubtful one, lies within the span: its litres may belong here.
        when m.stray_km is not null and exists (
            select from unnest(m.stray_km, m.stray_at) as stray (km, filled_at)
            where stray.km > m.from_km and stray.km <= m.good_km and (stray.filled_at between m.from_at and m.filled_at) is not true
        ) then 'ambiguous'
        -- A quarter of an hour is nobody's fault: clocks and messages are that far apart.
        when m.has_hours and m.km > l.per_hour * (m.hours + 0.25) then 'implausible'
        when m.km < m.km_per_litre_min * m.litres_since or m.km > m.km_per_litre_max * m.litres_since then 'implausible'
        else 'ok'
    end as span_status,
    coalesce(m.has_hours and m.km > l.per_hour * (m.hours + 0.25), false) as is_too_fast,
    least(l.per_span, l.per_day * greatest(1, m.hours / 24))::bigint as max_km
from (
    select
        b.*,
        (b.base >> 1) & 2097151 as from_km,
        b.good_km - ((b.base >> 1) & 2097151) as km,
        extract(epoch from b.filled_at - b.from_at) / 3600 as hours,
        b.has_clock and (b.base & 1) = 1 as has_hours,
        b.stop_fills_so_far - b.from_fills_so_far as fills_since,
        b.stop_litres_so_far - b.from_litres_so_far as litres_since,
        b.stop_with_litres_so_far - b.from_with_litres_so_far as with_litres_since,
        b.stop_kes_so_far - b.from_kes_so_far as kes_since,
        b.stop_with_kes_so_far - b.from_with_kes_so_far as with_kes_since,
        b.stop_unclear_so_far - b.from_unclear_so_far as unclear_since,
        greatest(coalesce(b.stop_odd_by_end, 0) - b.from_odd_before, 0) as odd_since
    from fuel.based_fills as b
) as m
cross join (select * from fuel.span_limit offset 0) as l
-- The order is what the next view walks in. It also keeps the planner from working the status out again wherever it is used.
order by m.vehicle, m.carries, m.filled_at, m.odometer_km, m.id;

-- What is usual for a vehicle, and which of its spans are far from it (see fuel.far_spans).
create type fuel.usual as (
    km_per_litre double precision,
    is_sure      boolean,
    far          bigint[],
    mistyped     bigint[],
    unsure       bigint[]
);

comment on type fuel.usual is 'What is usual for a vehicle: the middle of its spans'' km a litre, whether that rests on three spans or more, so that one wrong span does not move it, the ids of the fills whose spans are far from it, those of them whose own reading explains it, and the ids of the fills whose figures are not sure, as a reading or the litres are probably wrong.';

-- One missing fill doubles a figure, one doubled fill halves it. Figures are judged in logarithms against the vehicle's own
-- spread: the middle of the distances from the middle, scaled to a standard deviation.
--
--   Vehicles that fill up: a span further from the middle than 3 spreads is far, though never under a factor of 1.42 and
--   always over one of 1.65.
--   Vehicles that fill for fixed money (their amounts vary less than their litres), or whose figures vary by more than a
--   factor of 1.16 anyway: single spans say little, so the last three together are judged, of which the last is far; one alone
--   only over a factor of 1.65 and 3 of such spreads.
--
-- A far span next to one that is far the other way, the two together being usual: the reading between them is mistyped.
-- Two figures next to each other are unsure if one is off by more than 1.65, the other by more than 1.42 the other way, and
-- the two together are usual: the reading between them is probably wrong.
-- One figure is unsure if it is off by more than 1.65, and its price is one that nobody pays and less than a third, or more than
-- three times, of what this vehicle usually pays: its litres are wrong, not only the amount. For this, three spans are enough.
--
-- is_believable: false for a consumption outside the class's range; null if litres of another fuel lie within the span,
-- of which nobody knows whether they belong to it: such a span is neither usual nor evidence against a reading.
create function fuel.far_spans(limits fuel.anomaly_limit, ids bigint[], km bigint[], litres numeric[], kes numeric[], is_believable boolean[]) returns fuel.usual
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    logs     double precision[];
    usual    fuel.usual := row (null, false, '{}', '{}', '{}');
    spans    bigint;
    middle   double precision;
    spread   double precision;
    farthest double precision;
    alone    double precision;
    money    boolean;
    triples  double precision[];
    kept     integer[] := '{}';
    three    integer[];
    one      double precision;
    far      integer[] := '{}';
    good     double precision[];
    n        constant integer := coalesce(cardinality(ids), 0);
    n_far    integer;
    price    double precision;
    off      double precision;
    off_next double precision;
begin
    if n = 0 then
        return usual;
    end if;
    for i in 1..n loop
        if is_believable[i] then
            logs[i] := ln(km[i]::double precision / litres[i]::double precision);
        end if;
    end loop;
    select percentile_cont(0.5) within group (order by x), count(x) into middle, spans from unnest(logs) as x;
    usual.is_sure := spans >= 3;
    select 1.4826 * percentile_cont(0.5) within group (order by abs(x - middle)) into spread from unnest(logs) as x;

    if spans > limits.min_spans then
        if spread > limits.noisy then
            money := true;
        else
            select
                1.4826 * percentile_cont(0.5) within group (order by abs(ln(s.kes) - s.kes_middle))
                    < 0.9 * 1.4826 * percentile_cont(0.5) within group (order by abs(ln(s.litres) - s.litres_middle))
            into money
            from (
                select
                    k::double precision as kes, l::double precision as litres,
                    (select percentile_cont(0.5) within group (order by ln(y::double precision)) from unnest(kes, is_believable) as u (y, b) where y between 1 and 1e15 and b) as kes_middle,
                    (select percentile_cont(0.5) within group (order by ln(y::double precision)) from unnest(litres, is_believable) as u (y, b) where y > 0 and b) as litres_middle
                from unnest(kes, litres, is_believable) as u (k, l, b)
                where b and k between 1 and 1e15
            ) as s;
        end if;

        if not coalesce(money, false) then
            farthest := least(greatest(limits.spreads * spread, limits.least), limits.most);
            for i in 1..n loop
                if abs(logs[i] - middle) > farthest then
                    far := far || i;
                end if;
            end loop;
        else
            alone := greatest(limits.spreads * spread, limits.most);
            select array_agg(ln(t.km / t.litres)) into triples
            from (
                select
                    (sum(s.km) over last_three)::double precision as km, (sum(s.litres) over last_three)::double precision as litres,
                    count(*) over last_three as spans
                from unnest(km, litres, is_believable) with ordinality as s (km, litres, is_believable, nth)
                where s.is_believable
                window last_three as (order by s.nth rows 2 preceding)
            ) as t
            where t.spans = 3;
            select percentile_cont(0.5) within group (order by x) into one from unnest(triples) as x;
            select greatest(limits.money_spreads * 1.4826 * percentile_cont(0.5) within group (order by abs(x - one)), limits.money_least)
            into farthest from unnest(triples) as x;
            for i in 1..n loop
                continue when is_believable[i] is not true;
                if abs(logs[i] - middle) > alone then
                    far := far || i;
                    continue;
                end if;
                three := case when cardinality(kept) >= 2 then kept[cardinality(kept) - 1:] || i end;
                if three is not null then
                    select ln(sum(km[j])::double precision / sum(litres[j])::double precision) - one into strict spread from unnest(three) as j;
                    -- The last span alone must be odd in the same way, or it only inherits what came before.
                    if abs(spread) > farthest and spread * (logs[i] - middle) > 0 and abs(logs[i] - middle) > greatest(farthest, limits.least) then
                        far := far || i;
                        continue;
                    end if;
                end if;
                kept := kept || i;
            end loop;
        end if;
        if spans - cardinality(far) < limits.min_spans then
            far := '{}';
        end if;
    end if;

    -- What is usual rests on the spans that are not far.
    for i in 1..n loop
        if is_believable[i] and not i = any (far) then
            good := good || (km[i]::double precision / litres[i]::double precision);
        end if;
    end loop;
    select percentile_cont(0.5) within group (order by x) into usual.km_per_litre from unnest(good) as x;

    if spans > limits.min_spans then
        for i in 1..n - 1 loop
            if (i = any (far) or not is_believable[i]) and (i + 1 = any (far) or not is_believable[i + 1])
                and not (i > 1 and ids[i - 1] = any (usual.mistyped))
                and (km[i] < usual.km_per_litre * litres[i]) <> (km[i + 1] < usual.km_per_litre * litres[i + 1])
                and abs(ln((km[i] + km[i + 1])::double precision / (litres[i] + litres[i + 1])::double precision) - ln(usual.km_per_litre)) < limits.least
            then
                usual.mistyped := usual.mistyped || ids[i];
            end if;
        end loop;
    end if;
    if usual.is_sure then
        select percentile_cont(0.5) within group (order by k::double precision / l::double precision) into price
        from unnest(kes, litres) as u (k, l)
        where k > 0 and l > 0;
        for i in 1..n loop
            if is_believable[i] and kes[i] > 0 and abs(logs[i] - ln(usual.km_per_litre)) > limits.most
                and kes[i] not between litres[i] * limits.price_min_kes and litres[i] * limits.price_max_kes
                and abs(ln(kes[i]::double precision / litres[i]::double precision / price)) > ln(3)
            then
                usual.unsure := usual.unsure || ids[i];
            end if;
        end loop;
    end if;
    if spans > limits.min_spans then
        for i in 1..n - 1 loop
            off := logs[i] - ln(usual.km_per_litre);
            off_next := logs[i + 1] - ln(usual.km_per_litre);
            if sign(off) = -sign(off_next)
                and greatest(abs(off), abs(off_next)) > limits.most and least(abs(off), abs(off_next)) > limits.least
                and abs(ln((km[i] + km[i + 1])::double precision / (litres[i] + litres[i + 1])::double precision) - ln(usual.km_per_litre)) < limits.least
            then
                usual.unsure := usual.unsure || ids[i] || ids[i + 1];
            end if;
        end loop;
    end if;
    foreach n_far in array far loop
        usual.far := usual.far || ids[n_far];
    end loop;
    return usual;
end
$$;

comment on function fuel.far_spans(fuel.anomaly_limit, bigint[], bigint[], numeric[], numeric[], boolean[]) is 'What is usual for a vehicle, from all its spans in their order, and which of them are far from it.';

-- Whether a copied fill (litres, amount and reading of the one before) was reported twice, by the span after it: without the
-- copy it is usual, and with the copy it is far from that, or at least further away.
create function fuel.is_double(usual fuel.usual, id bigint, status text, km bigint, litres numeric, copied_litres numeric) returns boolean
language sql stable parallel safe
return
    km::double precision between 0.7 * ((usual).km_per_litre * (litres - copied_litres)::double precision)
        and 1.42 * ((usual).km_per_litre * (litres - copied_litres)::double precision)
    and (
        id = any ((usual).far)
        or status = 'implausible'
        or (
            status = 'ok' and (usual).is_sure
            -- Nearer to the figure without the copy than with it.
            and km::double precision * km::double precision
                < ((usual).km_per_litre * (litres - copied_litres)::double precision) * ((usual).km_per_litre * litres::double precision)
        )
    );

comment on function fuel.is_double(fuel.usual, bigint, text, bigint, numeric, numeric) is 'Whether the span after a copied fill says that this was reported twice.';

-- What is usual for the vehicle, at the last of its stops.
create view fuel.gathered_fills as
select
    s.*,
    case when s.carries and lead(s.id) over carriers is null then fuel.far_spans(
        (select l from fuel.anomaly_limit as l),
        array_agg(s.id) filter (where s.is_span) over carriers,
        array_agg(s.km) filter (where s.is_span) over carriers,
        array_agg(s.litres_since) filter (where s.is_span) over carriers,
        array_agg(s.kes_since) filter (where s.is_span) over carriers,
        array_agg(case when s.span_status = 'ok' and s.odd_since > 0 then null else s.span_status = 'ok' end) filter (where s.is_span) over carriers
    ) end as at_last
from (
    select
        f.*,
        f.span_status = 'ok' or (f.span_status = 'implausible' and not f.is_too_fast and f.litres_since between 0.01 and 1000000) as is_span
    from fuel.spanned_fills as f
) as s
window carriers as (partition by s.vehicle, s.carries order by s.filled_at, s.odometer_km, s.id rows between unbounded preceding and unbounded following);

-- What is usual for the vehicle, at each fill that carries figures, and what its neighbours say.
create view fuel.compared_fills as
select
    g.*,
    last_value(g.at_last) over whole as usual,
    lead(g.id) over whole as next_id,
    lead(g.span_status) over whole as next_status,
    lead(g.km) over whole as next_km,
    lead(g.litres_since) over whole as next_litres,
    lag(g.is_copy, 1, false) over whole as is_after_copy,
    lag(g.counted_litres) over whole as copied_litres
from fuel.gathered_fills as g
window whole as (partition by g.vehicle, g.carries order by g.filled_at, g.odometer_km, g.id rows between unbounded preceding and unbounded following);

-- The status of each fill: that of its span, unless the span is far from what is usual for the vehicle.
create view fuel.decided_fills as
select
    k.*,
    case
        when k.id = any ((k.usual).far) then 'outlier'
        when k.span_status = 'ok' and (k.is_after_double or k.id = any ((k.usual).unsure)) then 'ambiguous'
        -- Litres of another fuel within the span are a can for somebody else, or ours with the fuel mistyped. They are
        -- a can where the span without them is usual, and nearer to it than with them; otherwise nobody can know.
        when k.span_status = 'ok' and k.odd_since > 0 and (
            k.km::double precision * k.km
                < (k.usual).km_per_litre * (k.usual).km_per_litre * k.litres_since::double precision * (k.litres_since + k.odd_since)::double precision
            and k.km::double precision > 0.7 * (k.usual).km_per_litre * k.litres_since::double precision
        ) is not true then 'ambiguous'
        else k.span_status
    end as status,
    coalesce(k.id = any ((k.usual).mistyped), false) as is_mistyped,
    -- A copy without which the span after it is usual was reported twice: the finding is on the copy, not on that span.
    coalesce(k.is_copy and fuel.is_double(k.usual, k.next_id, k.next_status, k.next_km, k.next_litres, k.counted_litres), false) as is_double,
    case when k.is_span then lead(k.id) over spans end as next_span_id,
    k.is_after_double or (k.is_span and coalesce(lag(k.id = any ((k.usual).mistyped)) over spans, false)) as is_excused
from (
    select
        k.*,
        coalesce(k.is_after_copy and fuel.is_double(k.usual, k.id, k.span_status, k.km, k.litres_since, k.copied_litres), false) as is_after_double
    from fuel.compared_fills as k
) as k
window spans as (partition by k.vehicle, k.is_span order by k.filled_at, k.odometer_km, k.id);

-- Rolling figures are sums over the last spans that are ok, never a mean of ratios.
create view fuel.judged_fills as
select
    d.*,
    sum(d.km) over last_spans as rolling_km,
    sum(d.litres_since) over last_spans as rolling_litres,
    count(*) over last_spans as rolling_count
from fuel.decided_fills as d
window last_spans as (
    partition by d.vehicle, d.status = 'ok' order by d.filled_at, d.odometer_km, d.id
    rows between (select l.rolling_spans - 1 from fuel.span_limit as l) preceding and current row
);
