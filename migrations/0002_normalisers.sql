-- The normalisers and readers: what a plate, a fuel type, a department, a number and a time mean, in one place for all.

-- Every function of this schema sets its search path, with pg_temp last: if it were left out, it would be searched first, and
-- a caller could put a type or a table in place of ours. A body that is bound when it is created (`return`, `begin atomic`)
-- needs no path.

-- A plate as A-Z and 0-9. A text that starts with a known shape followed by a boundary is cut to that shape, and in the
-- shape's digit positions O reads 0, I and L read 1. Everything else is kept, cleaned; a placeholder is no plate.
create function fuel.norm_plate(plate text) returns text
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    spaced text;
    found  text;
    digits text;
    tail   text;
    first_digit integer;
    last_digit  integer;
begin
    -- Normalising takes quadratic time and cannot be cancelled, so only a short text is normalised.
    plate := left(plate, 2000);
    if octet_length(plate) <> char_length(plate) then
        plate := normalize(plate, nfkc);
    end if;
    spaced := btrim(regexp_replace(upper(plate collate "C"), '[^A-Z0-9]+', ' ', 'g'));

    -- Nearly every plate ends here, before the slow test of all shapes.
    found := replace(spaced, ' ', '');
    if found ~ '^K[A-HJ-NP-Z]{2,3}[0-9]{3}[A-HJ-NP-Z]$' then
        return found;
    end if;

    -- The longest shape wins: KAA 123 B is one plate, KAA 123 BUS is KAA123. I and O are never letters of a Kenyan plate.
    found := replace(substring(spaced || ' ' from
        '^(?:K ?[A-HJ-NP-Z] ?[A-HJ-NP-Z] ?[A-HJ-NP-Z] ?[0-9OIL] ?[0-9OIL] ?[0-9OIL] ?[A-HJ-NP-Z]'
        '|[KG] ?[A-HJ-NP-Z] ?[A-HJ-NP-Z] ?[0-9OIL] ?[0-9OIL] ?[0-9OIL] ?[A-HJ-NP-Z]'
        '|K ?[A-HJ-NP-Z] ?[A-HJ-NP-Z] ?[0-9OIL] ?[0-9OIL] ?[0-9OIL]'
        '|U ?[A-Z] ?[A-Z] ?[0-9OIL] ?[0-9OIL] ?[0-9OIL] ?[A-Z]'
        '|U ?A ?[0-9OIL] ?[0-9OIL] ?[0-9OIL] ?[A-Z] ?[A-Z]'
        '|Z ?[A-HJ-NP-Z] ?[0-9OIL] ?[0-9OIL] ?[0-9OIL] ?[0-9OIL]'
        '|[0-9OIL](?: ?[0-9OIL]){0,2} ?C ?[DG] ?[0-9OIL](?: ?[0-9OIL]){0,3}(?: ?[A-HJ-NP-Z])?) '), ' ', '');

    if left(found, 1) in ('K', 'G', 'U', 'Z') then
        first_digit := case
            when left(found, 1) = 'Z' then 3
            when length(found) = 8 then 5
            -- UA123BJ and UAA123A differ by a digit that only one of them has in that place.
            when left(found, 1) = 'U' and substr(found, 3, 1) ~ '[0-9]' then 3
            when left(found, 1) = 'U' and substr(found, 6, 1) !~ '[0-9OIL]' then 3
            else 4
        end;
        last_digit := case when left(found, 1) = 'Z' then 6 else first_digit + 2 end;
        digits := substr(found, first_digit, last_digit - first_digit + 1);
        -- A word is no plate: KEN OIL has the letters of KAA 123 and not one digit.
        if digits ~ '[0-9]' then
            return left(found, first_digit - 1) || translate(digits, 'OIL', '011') || substr(found, last_digit + 1);
        end if;
    elsif found is not null then
        -- 47CG456A: digits, two letters, digits, and a last letter if there is one.
        first_digit := position('C' in found) + 2;
        tail := case when right(found, 1) ~ '[A-HJ-NP-Z]' then right(found, 1) else '' end;
        digits := substr(found, first_digit, length(found) - first_digit + 1 - length(tail));
        if left(found, first_digit - 3) ~ '[0-9]' and digits ~ '[0-9]' then
            return translate(left(found, first_digit - 3), 'OIL', '011') || substr(found, first_digit - 2, 2) || translate(digits, 'OIL', '011') || tail;
        end if;
    end if;

    found := replace(spaced, ' ', '');
    if found in ('', 'NA', 'NIL', 'NONE', 'TBA', 'TBD', 'X') then
        return null;
    end if;
    -- An index entry has a limit; a plate has not 1,000 characters.
    return left(found, 1000);
end
$$;

comment on function fuel.norm_plate(text) is 'A number plate as A-Z and 0-9, so that spellings of one plate are equal; null for placeholders.';

-- A label without differences of case, character width, punctuation and repeated spaces: V.POWER, v-power and V POWER are one.
create function fuel.clean_label(label text) returns text
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    label := left(label, 2000);
    if octet_length(label) <> char_length(label) then
        label := normalize(label, nfkc);
    end if;
    return nullif(btrim(regexp_replace(upper(label collate "C"), e'[\\s!-/:-@\\[-`{-~]+', ' ', 'g')), '');
end
$$;

-- A department likewise, without a final DEPT or DEPARTMENT; dots of an abbreviation and apostrophes are removed. A placeholder
-- is no department.
create function fuel.clean_department(department text) returns text
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    cleaned text;
begin
    department := left(department, 2000);
    department := replace(regexp_replace(upper(department collate "C"), e'\\m([A-Z])\\.(?=[A-Z](?:\\M|\\.))', e'\\1', 'g'), '''', '');
    cleaned := fuel.clean_label(department);
    cleaned := regexp_replace(cleaned, '(?: (?:DEPT|DEPARTMENT))+$', '');
    return case when cleaned not in ('N A', 'NA', 'NIL', 'NONE') then cleaned end;
end
$$;

create index on fuel.fuel_type_alias (fuel.clean_label(alias));
create index on fuel.department_alias (fuel.clean_department(alias));

-- The canonical fuel type of a spelling; null if rules/ does not know it. Never guessed.
create function fuel.canon_fuel_type(fuel_type text) returns text
language sql stable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select min(known.canonical)
    from (
        select a.canonical from fuel.fuel_type_alias as a where fuel.clean_label(a.alias) = fuel.clean_label(fuel_type)
        union all
        select a.canonical from fuel.fuel_type_alias as a where fuel.clean_label(a.canonical) = fuel.clean_label(fuel_type)
    ) as known
$$;

-- The canonical department of a spelling; the cleaned text if rules/ does not know it.
create function fuel.canon_department(department text) returns text
language sql stable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(min(a.canonical), fuel.clean_department(department))
    from fuel.department_alias as a
    where fuel.clean_department(a.alias) = fuel.clean_department(department)
$$;

-- A number as people and exports write it: 1234, "1,234.50", "KSH 7 200/=". Null if it is no number, or one that nobody means:
-- longer than 40 characters, 1e18 or more, or nearer to zero than 1e-9. So no figure computed from it overflows. A comma or a
-- space separates thousands only: `45,5` is not read, because a guess could be ten times too large.
create function fuel.read_number(written text) returns numeric
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    number text;
begin
    if length(written) > 200 then
        return null;
    end if;
    if octet_length(written) <> char_length(written) then
        written := normalize(written, nfkc);
    end if;
    number := regexp_replace(
        upper(written collate "C"),
        e'^\\s*(?:(?:KSHS?|KES)[.:]?)?\\s*|\\s*(?:/=|/-|(?:KSHS?|KES)\\.?)?\\s*$', '', 'g'
    );
    if number ~ e'^[+-]?[0-9]{1,3}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+)(?:\\.[0-9]*)?$' then
        number := translate(number, ', ', '');
    end if;
    if length(number) > 40 or number !~ e'^[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:E[+-]?[0-9]{1,2})?$' then
        return null;
    end if;
    return case when number::numeric = 0 or abs(number::numeric) >= 1e-9 and abs(number::numeric) < 1e18 then number::numeric end;
end
$$;

-- The zone of times that people write into the feed (rules/fields.toml). `fuel.rebuild_reader()` writes this function anew from
-- fuel.feed_rule. It returns a constant, so that no row costs a look-up.
create function fuel.feed_zone() returns text
language sql immutable parallel safe
return 'Africa/Nairobi';

comment on function fuel.feed_zone() is 'The time zone of the feed, as rules/fields.toml names it; written by `fleetfuel migrate`.';

-- An instant as exports write it. In this order: `YYYY-MM-DD-HH-MM` (in the zone of the feed); date and time with Z or an
-- offset; date and time without one, in `zone`; a date alone (midnight in the zone of the feed). Null for everything else: a day
-- that does not exist, a zero date, infinity, and 1970-01-01 00:00 UTC, which means "unknown".
create function fuel.read_time(written text, zone text) returns timestamptz
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    moment timestamptz;
begin
    written := upper(btrim(left(written, 2000), e' \t\n\r'));
    -- No group is captured: a match that only says yes or no costs a tenth. No cast fails on what passes this pattern.
    if written !~
        e'^\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|[12]\\d))'
        '(?:-(?:[01]\\d|2[0-3])-[0-5]\\d|[T ](?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:[.,]\\d{1,9})?)?(?: ?(?:Z|[+-](?:0\\d|1[0-4])(?::?[0-5]\\d)?))?)?$'
        or left(written, 4) = '0000'
    then
        return null;
    end if;
    if substr(written, 6, 5) = '02-29' then
        if extract(day from make_date(left(written, 4)::integer, 3, 1) - 1) <> 29 then
            return null;
        end if;
    end if;
    if length(written) = 10 then
        moment := written::timestamp at time zone fuel.feed_zone();
    elsif substr(written, 11, 1) = '-' then
        moment := (left(written, 10) || ' ' || replace(substr(written, 12), '-', ':'))::timestamp at time zone fuel.feed_zone();
    elsif substr(written, 17) ~ '[Z+-]' then
        moment := replace(written, ',', '.')::timestamptz;
    else
        moment := replace(written, ',', '.')::timestamp at time zone zone;
    end if;
    -- Years have four digits in every zone: every reader of this table can hold them.
    if moment < timestamptz '0001-01-02 00:00:00Z' or moment >= timestamptz '9999-12-31 00:00:00Z' or moment = timestamptz 'epoch' then
        return null;
    end if;
    return moment;
end
$$;
