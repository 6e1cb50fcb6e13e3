-- The queries of the dashboard and the alert rules, by name. The first line of each is the description that people read.
-- Grafana fills in $__timeFilter, $__timeFrom, $__timeTo and the variables $cost_centre and $plate.
-- The time range is applied to filled_at: filled_at_eat would shift it by hours, filled_on by up to a day.

-- name: cost_centres
-- All cost centres.
select distinct coalesce(cost_centre, '(none)') from reporting.v_fuel_fills
union
select '(none)'
order by 1

-- name: plates
-- The vehicles of the chosen cost centres.
select distinct coalesce(plate, '(none)') from reporting.v_fuel_fills where coalesce(cost_centre, '(none)') in ($cost_centre)
union
select '(none)'
order by 1

-- name: source_age
-- How long ago the export wrote the snapshot that the table holds. It grows if the export stalls.
select source_age_seconds as "age" from reporting.v_ingest_health where mode = 'snapshot'

-- name: last_applied
-- How long ago a snapshot was applied. It grows if the import fails or is not started.
select last_applied_age_seconds as "age" from reporting.v_ingest_health where mode = 'snapshot'

-- name: open_rejects
-- Records that were rejected and that no later run has accepted: `fleetfuel rejects --open` lists them.
select coalesce(max(open_rejects), 0) as "rejected records" from reporting.v_ingest_health

-- name: last_runs
-- The last run of each mode, and what it said.
select mode, status, finished_at, records, inserts, updates, soft_deletes, restores, rejected, message
from reporting.v_ingest_health
order by finished_at desc

-- name: runs
-- What each applied run changed and rejected.
select
    finished_at as "time", soft_deletes as "soft deletes", inserts, updates, restores, rejected
from reporting.v_ingest_runs
where $__timeFilter(finished_at) and status = 'applied'
order by finished_at

-- name: bad_runs
-- Runs that were refused by a guard or failed, and why.
select finished_at, mode, status, exit_code, message, run_id
from reporting.v_ingest_runs
where $__timeFilter(finished_at) and status <> 'applied'
order by finished_at desc
limit 200

-- name: spend
-- Spend of whole months in the range, in KES. Amounts that nobody can believe are left out, and counted separately.
select
    coalesce(sum(amount_kes), 0) as "spend", coalesce(sum(litres), 0) as "litres", coalesce(sum(fills), 0)::bigint as "fills",
    coalesce(sum(over_cap_kes), 0) as "paid above the cap", coalesce(sum(unbelievable_fills), 0)::bigint as "fills left out"
from reporting.v_fuel_monthly
where
    month >= date_trunc('month', $__timeFrom()::timestamptz at time zone 'Africa/Nairobi')::date
    and month <= ($__timeTo()::timestamptz at time zone 'Africa/Nairobi')::date
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)

-- name: spend_by_month
-- Spend of each month by department, in KES.
select
    month::timestamp at time zone 'Africa/Nairobi' as "time", coalesce(department, '(none)') as metric, sum(amount_kes) as "spend"
from reporting.v_fuel_monthly
where
    month >= date_trunc('month', $__timeFrom()::timestamptz at time zone 'Africa/Nairobi')::date
    and month <= ($__timeTo()::timestamptz at time zone 'Africa/Nairobi')::date
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
group by 1, 2
order by 1, 2

-- name: spend_by_cost_centre
-- Spend, litres and kilometres a litre by cost centre: kilometres are summed, litres are summed, then divided.
select
    coalesce(cost_centre, '(none)') as "cost centre", sum(amount_kes) as "KES", sum(litres) as "litres", sum(fills)::bigint as "fills",
    round(sum(distance_km) / nullif(sum(span_litres), 0), 2) as "km a litre",
    sum(over_cap_kes) as "KES above the cap", sum(warn_fills)::bigint as "fills to check"
from reporting.v_fuel_monthly
where
    month >= date_trunc('month', $__timeFrom()::timestamptz at time zone 'Africa/Nairobi')::date
    and month <= ($__timeTo()::timestamptz at time zone 'Africa/Nairobi')::date
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
group by 1
order by 2 desc nulls last

-- name: spend_by_department
-- Spend, litres and kilometres a litre by department: kilometres are summed, litres are summed, then divided.
select
    coalesce(department, '(none)') as "department", sum(amount_kes) as "KES", sum(litres) as "litres", sum(fills)::bigint as "fills",
    round(sum(distance_km) / nullif(sum(span_litres), 0), 2) as "km a litre",
    sum(over_cap_kes) as "KES above the cap", sum(warn_fills)::bigint as "fills to check"
from reporting.v_fuel_monthly
where
    month >= date_trunc('month', $__timeFrom()::timestamptz at time zone 'Africa/Nairobi')::date
    and month <= ($__timeTo()::timestamptz at time zone 'Africa/Nairobi')::date
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
group by 1
order by 2 desc nulls last

-- name: price_and_cap
-- What a litre cost each day (money divided by litres), and the pump price cap of that day, by fuel.
select
    filled_on::timestamp at time zone 'Africa/Nairobi' as "time", fuel_type as metric,
    round(sum(amount_kes) / sum(litres), 2) as "paid", max(pump_price_cap_kes) as "cap"
from reporting.v_fuel_fills
where
    $__timeFilter(filled_at)
    and superseded_by is null and litres > 0 and amount_kes > 0 and pump_price_cap_kes is not null
    and price_per_litre_kes between pump_price_cap_kes * 0.5 and pump_price_cap_kes * 2
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
group by 1, 2
order by 1, 2

-- name: above_the_cap
-- Fills that cost most above the cap. V-Power is sold above it.
select
    filled_at, plate, department, fuel_type as "fuel", litres, amount_kes as "KES", round(price_per_litre_kes, 2) as "KES a litre",
    pump_price_cap_kes as "cap", round((price_per_litre_kes - pump_price_cap_kes) * litres, 0) as "KES above the cap", id
from reporting.v_fuel_fills
where
    $__timeFilter(filled_at)
    and superseded_by is null and price_per_litre_kes between pump_price_cap_kes * 1.01 and pump_price_cap_kes * 2 and fuel_type not like 'V-POWER%'
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
order by 9 desc nulls last, id
limit 200

-- name: km_per_litre
-- Kilometres a litre of each vehicle in the range against its usual; only figures whose status is ok.
select
    coalesce(plate, '(none)') as "plate",
    round(sum(distance_km) / nullif(sum(span_litres), 0), 2) as "km a litre",
    round((array_agg(usual_km_per_litre order by filled_at desc, id desc))[1]::numeric, 2) as "usual",
    round((sum(distance_km) / nullif(sum(span_litres), 0) / nullif((array_agg(usual_km_per_litre order by filled_at desc, id desc))[1], 0)::numeric - 1), 3)
        as "against usual",
    round(sum(span_amount_kes) / nullif(sum(distance_km) filter (where span_amount_kes is not null), 0), 2) as "KES a km",
    sum(distance_km)::bigint as "km", count(*) as "spans"
from reporting.v_fuel_efficiency
where
    $__timeFilter(filled_at)
    and status = 'ok'
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
group by 1
order by 4 nulls last, 1

-- name: km_per_litre_over_time
-- Kilometres a litre over the last spans of each chosen vehicle. Choose a few vehicles at the top.
select filled_at as "time", plate as metric, rolling_km_per_litre as "km a litre"
from reporting.v_fuel_efficiency
where
    $__timeFilter(filled_at)
    and status = 'ok'
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
order by filled_at, id

-- name: findings
-- Fills that somebody should look at, each with a sentence that says why. None accuses anybody.
select filled_at, plate, severity, code as "finding", sentence, department, id
from reporting.v_fuel_anomalies
where
    $__timeFilter(filled_at)
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
order by severity = 'warn' desc, filled_at desc, id, code
limit 500

-- name: findings_by_code
-- How many fills each check found.
select code as "finding", severity, count(*) as "fills"
from reporting.v_fuel_anomalies
where
    $__timeFilter(filled_at)
    and coalesce(cost_centre, '(none)') in ($cost_centre)
    and coalesce(plate, '(none)') in ($plate)
group by 1, 2
order by severity = 'warn' desc, 3 desc, 1

-- name: alert_feed_stalled
-- The export has written no new snapshot for hours, although imports run: ask whoever runs the export.
select coalesce(max(source_age_seconds), 999999999) as "seconds" from reporting.v_ingest_health where mode = 'snapshot'

-- name: alert_no_run
-- No snapshot was applied for hours: `fleetfuel runs` and `fleetfuel doctor` say why.
select coalesce(min(last_applied_age_seconds), 999999999) as "seconds" from reporting.v_ingest_health where mode = 'snapshot'

-- name: alert_bad_run
-- The last run of a mode was refused by a guard or failed: `fleetfuel runs last` shows it, with what to do.
select count(*) as "modes" from reporting.v_ingest_health where status <> 'applied'

-- name: alert_rejects_rise
-- More records were rejected in the last snapshot than usual in the 24 before it: `fleetfuel rejects --open` lists them.
select
    coalesce(max(r.rejected) filter (where r.place = 1), 0)
    - coalesce(percentile_disc(0.5) within group (order by r.rejected) filter (where r.place between 2 and 25), 0) as "more records"
from (
    select rejected, row_number() over (order by finished_at desc, run_id desc) as place
    from reporting.v_ingest_runs
    where mode = 'snapshot' and status = 'applied'
) as r
where r.place <= 25
