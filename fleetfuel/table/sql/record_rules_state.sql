-- Remember what was synced ($1: JSON object, file -> digest); says for which files it was something else before.
with wanted as (
    select file, digest from jsonb_each_text($1::text::jsonb) as each (file, digest)
),
gone as (
    delete from fuel.rules_state stored
    where not exists (select from wanted where wanted.file = stored.file)
    returning file
),
written as (
    insert into fuel.rules_state as stored (file, digest)
    select file, digest from wanted
    on conflict (file) do update set digest = excluded.digest, synced_at = now()
    where stored.digest is distinct from excluded.digest
    returning file
)
select file from gone
union all
select file from written
