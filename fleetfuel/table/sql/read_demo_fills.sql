-- The newest fills as an analyst sees them.
select to_char(filled_at_eat, 'YYYY-MM-DD HH24:MI') as filled_at_eat, plate, fuel_type, department,
       round(litres, 2)::text as litres, to_char(amount_kes, 'FM999,999,990') as amount_kes,
       round(price_per_litre_kes, 1)::text as kes_per_litre, cost_centre
from reporting.v_fuel_fills
where filled_at < now()
order by filled_at desc, id desc
limit 6
