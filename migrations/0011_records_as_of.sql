-- The records as they were at an instant, from the table and its history.

-- Only those with these ids, or all if `ids` is null. A version holds from the time it was written until it was replaced. The
-- evidence of a row changed, too, if a newer word on it was noted and its value stayed the same.
create function fuel.records_as_of(instant timestamptz, ids bigint[]) returns setof fuel.records
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    stood   record;
    current fuel.records;
    fill    fuel.records;
begin
    if exists (select from fuel.history_kept as h where h.since > instant) then
        raise exception 'the history is kept since %', (select h.since from fuel.history_kept as h) using errcode = '22023';
    end if;

    for stood in
        select distinct on (v.id)
            v.id, v.raw, v.deleted_at, v.absent_since, v.source_key, v.source_at, v.change_at, v.fingerprint, v.run_id, v.valid_from,
            v.replaced_at
        from fuel.record_versions as v
        where v.replaced_at > instant and (ids is null or v.id = any (ids))
        order by v.id, v.version_id
    loop
        continue when stood.valid_from > instant;
        fill := fuel.derive(stood.raw, stood.source_at);
        fill.id := stood.id;
        fill.deleted_at := stood.deleted_at;
        fill.absent_since := stood.absent_since;
        fill.source_key := stood.source_key;
        fill.source_at := stood.source_at;
        fill.change_at := stood.change_at;
        fill.fingerprint := stood.fingerprint;
        fill.run_id := stood.run_id;
        fill.last_changed_at := stood.valid_from;
        fill.first_seen_at := least(stood.valid_from, (select r.first_seen_at from fuel.records as r where r.id = stood.id));
        select e.fingerprint, e.source_at, e.change_at
        into fill.fingerprint, fill.source_at, fill.change_at
        from (
            select e.fingerprint, e.source_at, e.change_at, 0 as rank, e.evidence_id
            from fuel.evidence_versions as e
            where e.id = stood.id and e.replaced_at > instant and e.replaced_at <= stood.replaced_at
            union all
            select stood.fingerprint, stood.source_at, stood.change_at, 1, 0
        ) as e
        order by e.rank, e.evidence_id
        limit 1;
        return next fill;
    end loop;

    for current in
        select r.*
        from fuel.records as r
        where r.last_changed_at <= instant and (ids is null or r.id = any (ids))
        and not exists (select from fuel.record_versions as v where v.id = r.id and v.replaced_at > instant)
        and exists (select from fuel.evidence_versions as e where e.id = r.id and e.replaced_at > instant)
    loop
        select e.fingerprint, e.source_at, e.change_at
        into current.fingerprint, current.source_at, current.change_at
        from fuel.evidence_versions as e
        where e.id = current.id and e.replaced_at > instant
        order by e.evidence_id
        limit 1;
        return next current;
    end loop;

    return query
    select r.*
    from fuel.records as r
    where r.last_changed_at <= instant and (ids is null or r.id = any (ids))
    and not exists (select from fuel.record_versions as v where v.id = r.id and v.replaced_at > instant)
    and not exists (select from fuel.evidence_versions as e where e.id = r.id and e.replaced_at > instant);
end
$$;

create function fuel.records_as_of(instant timestamptz) returns setof fuel.records
language sql
stable
set search_path = pg_catalog, pg_temp
as $$ select r.* from fuel.records_as_of(instant, null) as r $$;

comment on function fuel.records_as_of(timestamptz) is 'The records as they were at an instant; an error if the history does not reach back so far.';

do $$ begin perform fuel.grant_rights(); end $$;
