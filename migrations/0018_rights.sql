-- The words of findings are found by functions (0017), and a view runs its functions with the rights of its reader. These give
-- nothing that the reports do not give.

alter function fuel.grant_rights() rename to grant_rights_of_tables;

create function fuel.grant_rights() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    said constant text := fuel.grant_rights_of_tables();
begin
    grant execute on function
        fuel.text_of(bigint, text), fuel.driver_of(bigint), fuel.differences(bigint, bigint), fuel.doubt(bigint, bigint), fuel.explanation(bigint)
    to public;
    return said;
end
$$;

comment on function fuel.grant_rights() is 'Gives fuel_ingest and grafana_ro the rights that they need and no more; run by each `fleetfuel migrate`, and says what it granted and what it left out.';
comment on function fuel.grant_rights_of_tables() is 'All of fuel.grant_rights() but the functions that came later.';
