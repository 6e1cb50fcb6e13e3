-- Make fuel.department_alias what the rules say ($1: JSON array of rows); a row that is right already is not touched.
with wanted as (
    select alias, canonical
    from jsonb_to_recordset($1::text::jsonb) as wanted (alias text, canonical text)
),
stored as (
    select alias, canonical
    from fuel.department_alias
),
gone as (
    delete from fuel.department_alias
    where alias in (
        select alias from (select * from stored except select * from wanted) as stale
    )
    returning alias
),
-- Counting `gone` makes the insert wait for the delete: a changed row leaves before it comes back.
written as (
    insert into fuel.department_alias (alias, canonical)
    select alias, canonical
    from (select * from wanted except select * from stored) as fresh
    where (select count(*) from gone) >= 0
    returning alias
)
select
    count(*) filter (where gone is null) as inserted,
    count(*) filter (where gone is not null and written is not null) as updated,
    count(*) filter (where written is null) as deleted
from gone
full join written using (alias)
