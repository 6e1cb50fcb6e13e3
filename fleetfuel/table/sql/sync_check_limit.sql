-- Make fuel.check_limit what the rules say ($1: JSON array of rows); a row that is right already is not touched.
with wanted as (
    select code, name, value, severity
    from jsonb_to_recordset($1::text::jsonb) as wanted (code text, name text, value numeric, severity text)
),
stored as (
    select code, name, value, severity
    from fuel.check_limit
),
gone as (
    delete from fuel.check_limit
    where (code, name) in (
        select code, name from (select * from stored except select * from wanted) as stale
    )
    returning code, name
),
-- Counting `gone` makes the insert wait for the delete: a changed row leaves before it comes back.
written as (
    insert into fuel.check_limit (code, name, value, severity)
    select code, name, value, severity
    from (select * from wanted except select * from stored) as fresh
    where (select count(*) from gone) >= 0
    returning code, name
)
select
    count(*) filter (where gone is null) as inserted,
    count(*) filter (where gone is not null and written is not null) as updated,
    count(*) filter (where written is null) as deleted
from gone
full join written using (code, name)
